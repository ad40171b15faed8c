"""Registration: adds the person, the welcome mail and the run that sends it in one transaction."""

from __future__ import annotations

import uuid

from sqlalchemy.exc import IntegrityError

from webapp.accounts import passwords
from webapp.accounts.service import by_email
from webapp.database.engine import now
from webapp.extensions import db
from webapp.identity import audit
from webapp.identity.models import User
from webapp.identity.roles import role_named
from webapp.mail_store.outbox import enqueue
from webapp.people.bodies import Profile, Registration
from webapp.people.snapshot import snapshot
from webapp.run_store.models import Run
from webapp.run_store.states import Origin
from webapp.runs.service import send_runs


def register(wanted: Registration, *, confirmed: bool = False) -> None:
    """Register a person; if the address is taken, send a mail to its owner instead. The caller cannot see which.

    `confirmed` is for people that an admin adds: their address counts as confirmed. Never waits for a worker; without a
    broker, beat sends the mail later.
    """
    # Before the transaction, which holds SQLite's write lock; and for a taken address too, so that both take as long.
    hashed = passwords.hashed(wanted.password)
    run = _welcome(wanted, hashed, confirmed) if by_email(wanted.email) is None else _address_taken(wanted.email)
    if run is not None:
        send_runs([run])


def add_person(profile: Profile, email: str, hashed: str, role: str, *, confirmed: bool) -> User:
    """Add a person with one role, and the audit row; the caller commits.

    Raises IntegrityError at the flush if the address is taken.
    """
    user = User(
        email=email,
        password=hashed,
        fs_uniquifier=uuid.uuid4().hex,
        confirmed_at=now() if confirmed else None,
        roles=[role_named(role)],
    )
    apply_profile(user, profile)
    db.session.add(user)
    db.session.flush()
    return user


def apply_profile(user: User, profile: Profile) -> None:
    """Write a profile into a person's row."""
    user.name = profile.name
    user.birthday = profile.birthday
    user.birthday_key = profile.birthday.month * 100 + profile.birthday.day if profile.birthday else None
    user.timezone = profile.timezone


def _welcome(wanted: Registration, hashed: str, confirmed: bool) -> Run | None:
    try:
        user = add_person(wanted, wanted.email, hashed, "member", confirmed=confirmed)
    except IntegrityError:
        # The address was taken between the check and the insert.
        db.session.rollback()
        return _address_taken(wanted.email)
    enqueued = enqueue(db.session, key=f"welcome:{user.id}", kind="welcome", user=user, origin=Origin.REGISTRATION)
    audit.record(db.session, "person.register", "user", user.id, user.name, after=snapshot(user), actor=user)
    db.session.commit()
    return enqueued[1] if enqueued else None


def _address_taken(email: str) -> Run | None:
    owner = by_email(email)
    if owner is None or not owner.active:
        db.session.rollback()
        return None
    key = f"address-taken:{owner.id}:{now().date().isoformat()}"
    enqueued = enqueue(db.session, key=key, kind="address_taken", user=owner, origin=Origin.REGISTRATION)
    db.session.commit()
    return enqueued[1] if enqueued else None
