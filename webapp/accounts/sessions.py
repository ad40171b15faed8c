"""Sessions of signed-in users, stored on the server.

The signed cookie names a `SignIn` row by a random token; each request loads the row together with the user. Ending the
row ends the session for every copy of the cookie.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any, cast

import sqlalchemy as sa
from flask import g, request, session
from flask_security.utils import login_user, logout_user, set_request_attr
from sqlalchemy.orm import contains_eager

from webapp.database.engine import now
from webapp.extensions import db
from webapp.identity.models import Role, SignIn, User, roles_users
from webapp.web.access import Permission, granted

# The key of the token in the session cookie.
TOKEN = "sign_in"
# After this time a session ends, whether or not it is in use.
LIFETIME = timedelta(days=30)


# Built once, because each request runs it. The roles are joined one table after the other: `joinedload` nests the
# joins, for which SQLite would read all of `roles_users`.
_LOAD_USER = (
    sa.select(User)
    .join(SignIn, SignIn.user_id == User.id)
    .outerjoin(roles_users, roles_users.c.user_id == User.id)
    .outerjoin(Role, Role.id == roles_users.c.role_id)
    .where(SignIn.id == sa.bindparam("id"), SignIn.ended_at.is_(None), SignIn.created_at > sa.bindparam("since"))
    .where(User.fs_uniquifier == sa.bindparam("uniquifier"), User.active)
    .options(contains_eager(User.roles))
)


def load(uniquifier: str) -> User | None:
    """The user of this request if the cookie's session has not ended. Flask-Login's user loader; one query."""
    row = current_id()
    if row is None:
        return None
    given = {"id": row, "since": now() - LIFETIME, "uniquifier": uniquifier}
    user = db.session.scalars(_LOAD_USER, given).unique().one_or_none()
    if user is not None:
        # A rollback expires the objects of the session: the user would be loaded again in the view of a POST.
        db.session.expunge(user)
        set_request_attr("fs_authn_via", "session")
        set_request_attr("fs_paa", session.get("fs_paa", 0))
    return user


def begin(user: User) -> None:
    """Sign a user in, with an empty session; the caller commits."""
    end_current()
    session.clear()
    # The CSRF token is cached for the request as well, and would be put back into the new session.
    g.pop("csrf_token", None)
    login_user(user, remember=False, authn_via=["password"])


def started(_sender: Any, *, user: User, **_more: Any) -> None:
    """Add the row of a new session; receives Flask-Security's signal for every sign-in."""
    token = secrets.token_urlsafe(32)
    session[TOKEN] = token
    db.session.add(
        SignIn(
            id=digest(token),
            user_id=user.id,
            address=(request.remote_addr or "")[:64],
            agent=_printable(request.user_agent.string)[:255],
        )
    )


def leave() -> None:
    """Sign this browser out; the caller commits."""
    end_current()
    logout_user()
    session.clear()


def end_current() -> None:
    """End this browser's session, if there is one; the caller commits."""
    row = current_id()
    if row is not None:
        _end(SignIn.id == row)


def end_all(user: User, *, but: str | None = None) -> int:
    """End every session of a user but `but`; gives how many were active. The caller commits."""
    return _end(SignIn.user_id == user.id, *([] if but is None else [SignIn.id != but]))


def current_id() -> str | None:
    """The id of the row that this request's cookie names; the session may have ended."""
    token = session.get(TOKEN)
    return digest(token) if isinstance(token, str) else None


def alive(user: User) -> Sequence[SignIn]:
    """The active sessions of a user, newest first."""
    query = (
        sa.select(SignIn)
        .where(SignIn.user_id == user.id, SignIn.ended_at.is_(None), SignIn.created_at > now() - LIFETIME)
        .order_by(SignIn.created_at.desc())
        .limit(100)
    )
    return db.session.scalars(query).all()


def still_allowed(rows: Collection[str], permission: Permission) -> set[str]:
    """Which of these sessions are active and belong to users with a permission. One query for all of them."""
    query = (
        sa.select(SignIn.id, Role.name)
        .join(User, User.id == SignIn.user_id)
        .join(roles_users, roles_users.c.user_id == User.id)
        .join(Role, Role.id == roles_users.c.role_id)
        .where(SignIn.id.in_(rows), SignIn.ended_at.is_(None), SignIn.created_at > now() - LIFETIME, User.active)
    )
    found = db.session.execute(query)
    return {row.id for row in found if granted(permission, [row.name])}


def _end(*which: sa.ColumnElement[bool]) -> int:
    query = sa.update(SignIn).where(SignIn.ended_at.is_(None), *which).values(ended_at=now())
    result = db.session.execute(query, execution_options={"synchronize_session": False})
    return cast("sa.CursorResult[Any]", result).rowcount


def digest(token: str) -> str:
    """The SHA-256 of a token, which is stored instead of it: a copy of the table does not let anyone sign in."""
    return hashlib.sha256(token.encode()).hexdigest()


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)
