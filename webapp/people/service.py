"""Searching and changing people. The only writer of `users` besides registration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from webapp.accounts import passwords
from webapp.accounts.service import end_sessions
from webapp.database.text_search import mentions, mentions_folded
from webapp.extensions import db
from webapp.identity import audit
from webapp.identity.models import Role, User
from webapp.identity.roles import roles_named
from webapp.mail_store.models import Mail
from webapp.people.bodies import Account, OwnProfile, PersonUpdate, Profile
from webapp.people.registration import add_person, apply_profile
from webapp.people.snapshot import snapshot
from webapp.run_store.models import Run
from webapp.web.errors import Conflict, Invalid, NotFound

ADMIN = "admin"
MAILS_SHOWN = 20


def find_people(search: str, role: str, active: bool | None) -> sa.Select[Any]:
    """The query for people; `search` matches a part of the name or the email address."""
    query = sa.select(User)
    if search:
        query = query.where(
            # Addresses are kept in lower case.
            mentions(User.name, search) | mentions_folded(User.email, search)
        )
    if role:
        query = query.where(User.roles.any(Role.name == role))
    if active is not None:
        query = query.where(User.active.is_(active))
    return query


def get_person(user_id: int) -> User:
    """One person. Raises NotFound."""
    user = db.session.get(User, user_id)
    if user is None:
        raise NotFound(f"There is no person {user_id}.")
    return user


def mails_of(user: User) -> Sequence[Mail]:
    """The newest messages to a person."""
    query = sa.select(Mail).where(Mail.user_id == user.id).order_by(Mail.created_at.desc(), Mail.id.desc())
    return db.session.scalars(query.limit(MAILS_SHOWN)).all()


def runs_of(mails: Sequence[Mail]) -> Sequence[Run]:
    """The runs that send these messages, newest first."""
    numbers = [mail.run_id for mail in mails if mail.run_id]
    return db.session.scalars(sa.select(Run).where(Run.id.in_(numbers)).order_by(Run.created_at.desc())).all()


def update_own(user_id: int, wanted: OwnProfile) -> User:
    """Change what a person may change about themselves."""
    user = get_person(user_id)
    before = snapshot(user)
    apply_profile(user, wanted)
    user.wants_birthday_mail = wanted.wants_birthday_mail
    user.wants_report_mail = wanted.wants_report_mail
    _commit("account.update", user, before)
    return user


def update_person(user_id: int, wanted: PersonUpdate, *, by: int) -> User:
    """Change a person as an admin. A change of roles, or disabling, ends the person's sessions.

    Raises Invalid for an unknown role, Conflict when admins would shut themselves out or no admin would be left.
    """
    # Changes of people's roles wait for each other: two admins cannot remove one another at the same moment.
    db.session.scalar(sa.select(Role.id).where(Role.name == ADMIN).with_for_update())
    user = get_person(user_id)
    before = snapshot(user)
    roles = list(roles_named(wanted.roles))
    _keep_an_admin(user, wanted, by)
    apply_profile(user, wanted)
    changed = {role.name for role in roles} != set(before["roles"]) or wanted.active != user.active
    if changed:
        user.roles = roles
        user.active = wanted.active
        end_sessions(user)
    _commit("person.update", user, before)
    return user


def create_person(profile: Profile, account: Account, role: str) -> User:
    """Add a person from the command line; no welcome mail. Raises Invalid for a taken address or an unknown role."""
    hashed = passwords.hashed(account.password)
    try:
        user = add_person(profile, account.email, hashed, role, confirmed=True)
    except IntegrityError:
        db.session.rollback()
        raise Invalid({"email": f"{account.email} is already registered."}) from None
    audit.record(db.session, "person.create", "user", user.id, user.name, after=snapshot(user))
    db.session.commit()
    return user


def admins() -> Sequence[User]:
    """All admins who may sign in."""
    query = sa.select(User).where(User.active, User.roles.any(Role.name == ADMIN)).order_by(User.id)
    return db.session.scalars(query).all()


def _keep_an_admin(user: User, wanted: PersonUpdate, by: int) -> None:
    stays = wanted.active and ADMIN in wanted.roles
    if stays or not user.active or ADMIN not in {role.name for role in user.roles}:
        return
    if user.id == by:
        raise Conflict("You cannot remove your own admin role or disable yourself. Ask another admin.")
    if all(admin.id == user.id for admin in admins()):
        raise Conflict("This is the last admin. Make another person an admin first.")


def _commit(action: str, user: User, before: dict[str, object]) -> None:
    """Commit, with an audit row if something has changed."""
    after = snapshot(user)
    if after != before:
        audit.record(db.session, action, "user", user.id, user.name, before, after)
    db.session.commit()
