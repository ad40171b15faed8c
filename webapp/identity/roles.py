"""Looking up roles by name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from webapp.extensions import db
from webapp.identity.models import Role
from webapp.web.access import ROLES
from webapp.web.errors import Invalid


def role_named(name: str) -> Role:
    """One role. Raises Invalid at `role` for an unknown name."""
    return roles_named([name], field="role")[0]


def roles_named(names: Iterable[str], *, field: str = "roles") -> Sequence[Role]:
    """Roles by name, weaker ones first; rows that are missing are created. Raises Invalid at `field`."""
    wanted = set(names)
    if unknown := wanted - set(ROLES):
        raise Invalid({field: f"There is no role “{sorted(unknown)[0][:40]}”; there are {', '.join(ROLES)}."})
    found = {role.name: role for role in db.session.scalars(sa.select(Role).where(Role.name.in_(wanted)))}
    return [
        found.get(name) or Role(name=name, description=about) for name, (_, about) in ROLES.items() if name in wanted
    ]
