"""Tokens by which a program acts as a person: made and revoked on the command line, brought as `Authorization: Bearer`.

A token is 256 random bits, shown once; the database keeps its SHA-256. What it may do is what its person may do at the
moment, so that a change of roles counts at once and a disabled person's tokens are dead. It does not expire.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.orm import contains_eager

from webapp.accounts.sessions import digest
from webapp.database.engine import now
from webapp.extensions import db
from webapp.identity import audit
from webapp.identity.models import ApiToken, Role, User, roles_users
from webapp.web.errors import Invalid, NotFound
from webapp.web.transactions import write_apart

# By which scanners of source code recognise one.
PREFIX = "beatdesk_"
MAX_LABEL = 120
# When a token was last used is kept to the minute: a program that polls must not write at each request.
USED_PRECISION = timedelta(minutes=1)


def create(user: User, label: str) -> tuple[ApiToken, str]:
    """Make a token and commit; gives its row and the text, which nobody can read again. Raises Invalid."""
    if not user.active:
        raise Invalid({"": f"{user.email} is disabled."})
    if len(label) > MAX_LABEL or not label.isprintable():
        raise Invalid({"label": f"A label has at most {MAX_LABEL} characters, on one line."})
    text = PREFIX + secrets.token_urlsafe(32)
    token = ApiToken(digest=digest(text), user_id=user.id, label=label)
    db.session.add(token)
    db.session.flush()
    _record("token.create", token, user)
    return token, text


def revoke(user: User, number: int) -> ApiToken:
    """End one of a person's tokens and commit. Raises NotFound."""
    token = next((token for token in of_person(user) if token.id == number), None)
    if token is None:
        raise NotFound(f"{user.email} has no token {number}.")
    token.revoked_at = now()
    _record("token.revoke", token, user)
    return token


def of_person(user: User) -> Sequence[ApiToken]:
    """A person's tokens that are not revoked, the oldest first."""
    query = sa.select(ApiToken).where(ApiToken.user_id == user.id, ApiToken.revoked_at.is_(None)).order_by(ApiToken.id)
    return db.session.scalars(query).all()


def authenticate(text: str) -> User | None:
    """The person whose token this is; None for one that is unknown, revoked, or of a disabled person."""
    query = (
        sa.select(ApiToken)
        .join(ApiToken.user)
        .outerjoin(roles_users, roles_users.c.user_id == User.id)
        .outerjoin(Role, Role.id == roles_users.c.role_id)
        .where(ApiToken.digest == digest(text), ApiToken.revoked_at.is_(None), User.active)
        .options(contains_eager(ApiToken.user).contains_eager(User.roles))
    )
    token = db.session.scalars(query).unique().one_or_none()
    if token is None:
        return None
    user = token.user
    # As in `webapp.accounts.sessions.load`.
    db.session.expunge(user)
    if token.last_used_at is None or token.last_used_at < now() - USED_PRECISION:
        used = sa.update(ApiToken).where(ApiToken.id == token.id).values(last_used_at=now())
        write_apart(lambda connection: connection.execute(used))
    return user


def _record(action: str, token: ApiToken, user: User) -> None:
    audit.record(db.session, action, "token", token.id, token.label, after={"of": user.email, "label": token.label})
    db.session.commit()
