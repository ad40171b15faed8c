"""Signed links in mails that prove ownership of a mailbox: to reset the password, and to confirm the address.

A link carries the user's id and a fingerprint of what it is valid for, so that no row is stored for it. It is made when
the mail is sent, so that the table of mails never contains one. A reset link is valid once, for an hour.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta

from itsdangerous import BadData, SignatureExpired, URLSafeTimedSerializer

from webapp.config import Settings
from webapp.extensions import db
from webapp.identity.models import User

VALID_FOR = timedelta(hours=1)
CONFIRM_WITHIN = timedelta(days=7)


def reset_url(user: User, settings: Settings) -> str:
    """The URL at which a person chooses a new password. Made from PUBLIC_URL, never from a Host header."""
    return f"{settings.public_url}/reset/{_serializer(settings).dumps([user.id, _fingerprint(user)])}"


def user_of(token: str, settings: Settings) -> User | None:
    """The user of a reset link; None if it has expired, was used or changed, or the user is disabled."""
    try:
        number, fingerprint = _serializer(settings).loads(token, max_age=int(VALID_FOR.total_seconds()))
    except (BadData, TypeError, ValueError):
        return None
    user = db.session.get(User, number)
    if user is None or not user.active or _fingerprint(user) != fingerprint:
        return None
    return user


def confirm_url(user: User, settings: Settings) -> str:
    """The URL at which a person confirms their email address."""
    token = _serializer(settings, "confirm").dumps([user.id, _address_fingerprint(user)])
    return f"{settings.public_url}/confirm/{token}"


def user_to_confirm(token: str, settings: Settings) -> User | None:
    """The user whose address a link confirms; None if it is invalid, or has expired before it was first used."""
    expired = False
    try:
        payload = _serializer(settings, "confirm").loads(token, max_age=int(CONFIRM_WITHIN.total_seconds()))
    except SignatureExpired as error:
        payload, expired = _serializer(settings, "confirm").load_payload(error.payload or b""), True
    except (BadData, TypeError, ValueError):
        return None
    user = db.session.get(User, payload[0])
    if user is None or not user.active or payload[1] != _address_fingerprint(user):
        return None
    return None if expired and user.confirmed_at is None else user


def _address_fingerprint(user: User) -> str:
    return hashlib.sha256(user.email.encode()).hexdigest()[:32]


def _fingerprint(user: User) -> str:
    """A digest that changes with the password, and with everything that ends a person's sessions."""
    return hashlib.sha256(f"{user.fs_uniquifier}:{user.password}".encode()).hexdigest()[:32]


def _serializer(settings: Settings, purpose: str = "reset") -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(settings.secret_key, salt=f"beatdesk.{purpose}")
