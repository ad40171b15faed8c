"""API tokens, with which a program acts as a person by `Authorization: Bearer`. Created on the command line.

A token is 256 random bits, shown once; the database stores its SHA-256. It has the permissions that its person has at
the moment, so that a change of roles applies at once and the tokens of a disabled person do not work. It never expires.
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

# Secret scanners recognise tokens by it.
PREFIX = "beatdesk_"
MAX_LABEL = 120
# `last_used_at` is exact to a minute, so that a program that polls does not cause a write at each request.
LAST_USED_PRECISION = timedelta(minutes=1)


def create(user: User, label: str) -> tuple[ApiToken, str]:
    """Create a token and commit; gives its row and its text, which is not stored. Raises Invalid."""
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
    """Revoke one of a person's tokens and commit. Raises NotFound."""
    token = next((token for token in of_person(user) if token.id == number), None)
    if token is None:
        raise NotFound(f"{user.email} has no token {number}.")
    token.revoked_at = now()
    _record("token.revoke", token, user)
    return token


def of_person(user: User) -> Sequence[ApiToken]:
    """A person's tokens that are not revoked, oldest first."""
    query = sa.select(ApiToken).where(ApiToken.user_id == user.id, ApiToken.revoked_at.is_(None)).order_by(ApiToken.id)
    return db.session.scalars(query).all()


def authenticate(text: str) -> User | None:
    """The person of a token; None if it is unknown or revoked, or the person is disabled."""
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
    if token.last_used_at is None or token.last_used_at < now() - LAST_USED_PRECISION:
        used = sa.update(ApiToken).where(ApiToken.id == token.id).values(last_used_at=now())
        write_apart(lambda connection: connection.execute(used))
    return user


def _record(action: str, token: ApiToken, user: User) -> None:
    audit.record(db.session, action, "token", token.id, token.label, after={"of": user.email, "label": token.label})
    db.session.commit()
