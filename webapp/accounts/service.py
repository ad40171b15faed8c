"""Signing in and out, and passwords: each one transaction with its audit row."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any, cast

import sqlalchemy as sa

from webapp.accounts import passwords, sessions
from webapp.config import Settings
from webapp.database.engine import now, read_only
from webapp.extensions import db
from webapp.identity import audit, limits, recovery, refusals
from webapp.identity.addresses import normal_email
from webapp.identity.models import User
from webapp.mail_store.outbox import enqueue
from webapp.runs.service import send_runs
from webapp.web.errors import Invalid, NotFound
from webapp.web.transactions import reading

WRONG = "Incorrect email address or password."
# However often one asker wants a link, the mail goes out once in this time.
LINK_MAIL_EVERY = timedelta(minutes=5)


def sign_in(email: str, password: str) -> User | None:
    """Sign a person in; None for an unknown address, a wrong password and a disabled person alike, after equal time."""
    with reading():
        found = by_email(normal_email(email))
        right = passwords.matches(found, password) and found is not None and found.active
        key = (found.id, found.password) if found is not None and right else None
        tried = _named(found, email)
    if key is None:
        refusals.record("account.sign_in_failed", tried)
        return None
    # Loaded again: between the check and this transaction the password may have been changed.
    user = db.session.get(User, key[0])
    if user is None or not user.active or user.password != key[1]:
        db.session.rollback()
        return None
    sessions.begin(user)
    user.last_login_at = now()
    audit.record(db.session, "account.sign_in", "user", user.id, user.name, actor=user)
    db.session.commit()
    return user


def sign_out(user: User | None) -> None:
    """Sign this browser out; harmless when it is not signed in."""
    if user is not None and sessions.current_id() is not None:
        audit.record(db.session, "account.sign_out", "user", user.id, user.name, actor=user)
    sessions.leave()
    db.session.commit()


def sign_out_elsewhere(user: User) -> int:
    """End every other session of a person; gives how many there were."""
    ended = sessions.end_all(user, but=sessions.current_id())
    if ended:
        audit.record(db.session, "account.sign_out_elsewhere", "user", user.id, user.name, after={"ended": ended})
    db.session.commit()
    return ended


def change_password(user_id: int, current: str, new: str) -> None:
    """Replace one's password; every session ends, and this browser gets a new one.

    Raises WrongPassword for the current one, Invalid with field `new_password` for the new one.
    """
    with reading():
        found = db.session.get(User, user_id)
        right = passwords.matches(found, current)
        about, tried = _about(found), _named(found, "")
    if not right:
        refusals.record("account.change_password_failed", tried)
        raise WrongPassword({"password": "Incorrect current password."})
    if (problem := passwords.refusal(new, about)) or current == new:
        raise Invalid({"new_password": problem or "The new password must differ from the current one."})
    hashed = passwords.hashed(new)
    user = _load(user_id)
    set_password(user, hashed)
    audit.record(db.session, "account.change_password", "user", user.id, user.name, actor=user)
    sessions.begin(user)
    db.session.commit()


def request_reset(email: str) -> None:
    """Mail a link to reset the password, if the address is registered; the caller cannot tell."""
    _request_link(email, "password_reset", lambda user: user.active)


def request_confirmation(email: str) -> None:
    """Mail a new link that confirms the address, if it is to be confirmed; the caller cannot tell."""
    _request_link(email, "confirm_address", lambda user: user.active and user.confirmed_at is None)


def confirm_address(token: str, settings: Settings) -> User | None:
    """Confirm the address that a link was mailed to, however often it is followed; None where it is not valid."""
    user = recovery.user_to_confirm(token, settings)
    if user is None or user.confirmed_at is not None:
        return user
    db.session.rollback()
    # A link in a mail is a GET, which has only read until here.
    before = read_only.set(False)
    try:
        unconfirmed = sa.update(User).where(User.id == user.id, User.confirmed_at.is_(None))
        done = db.session.execute(unconfirmed.values(confirmed_at=now()))
        if cast("sa.CursorResult[Any]", done).rowcount:
            audit.record(db.session, "account.confirm_address", "user", user.id, user.name, actor=user)
        db.session.commit()
    finally:
        read_only.reset(before)
    return user


def _request_link(email: str, kind: str, wanted: Callable[[User], bool]) -> None:
    with reading():
        found = by_email(normal_email(email))
        # The same work for an address that is not registered.
        passwords.matches(None, "nothing")
        user_id, asked = found.id if found is not None and wanted(found) else None, _named(found, email)
    refusals.record(f"account.request_{kind}", asked)
    attempt = None if user_id is None else limits.count_mail(user_id)
    if user_id is None or attempt is None:
        return
    # Once in a while for each asker, so that strangers do not use up what the owner may ask for.
    user = _load(user_id)
    slot = int(now().timestamp() // LINK_MAIL_EVERY.total_seconds())
    enqueued = enqueue(db.session, key=f"{kind}:{user.id}:{slot}:{limits.client_digest()}", kind=kind, user=user)
    db.session.commit()
    if enqueued is None:
        attempt.uncount()
    else:
        send_runs([enqueued[1]])


def reset_password(user_id: int, new: str) -> User:
    """Set the password of a person who followed a valid link; every session ends.

    Raises Invalid with field `password`.
    """
    with reading():
        about = _about(db.session.get(User, user_id))
    if problem := passwords.refusal(new, about):
        raise Invalid({"password": problem})
    hashed = passwords.hashed(new)
    user = _load(user_id)
    set_password(user, hashed)
    # The link came by mail.
    user.confirmed_at = user.confirmed_at or now()
    audit.record(db.session, "account.reset_password", "user", user.id, user.name, actor=user)
    db.session.commit()
    return user


def set_password(user: User, hashed: str) -> None:
    """Replace the stored password and end every session; the caller commits."""
    user.password = hashed
    end_sessions(user)


def end_sessions(user: User) -> None:
    """End every session and every unused link for a new password; the caller commits."""
    user.fs_uniquifier = uuid.uuid4().hex
    sessions.end_all(user)


def by_email(address: str) -> User | None:
    """The person with this address, as it is kept (see `webapp.identity.addresses`)."""
    return db.session.scalar(sa.select(User).where(User.email == address)) if address else None


class WrongPassword(Invalid):
    """The password that proves who is asking is not right; counts as a failed attempt."""

    status = 401


def _named(user: User | None, email: str) -> tuple[str, object, str]:
    """An account for the audit; of one that is not known the address, never other text: it may be a password."""
    return ("user", user.id, user.name) if user is not None else ("user", "", normal_email(email))


def _about(user: User | None) -> tuple[str, ...]:
    return (user.name, user.email) if user is not None else ()


def _load(user_id: int) -> User:
    user = db.session.get(User, user_id)
    if user is None or not user.active:
        raise NotFound("This account no longer exists.")
    return user
