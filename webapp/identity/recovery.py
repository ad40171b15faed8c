"""Links in mails that prove who has the mailbox: for a new password, and to confirm the address.

A link is a signed text with a fingerprint of what it is about, and no row has to be kept for it. It is made when the
mail is sent, so that the ledger never holds one. The one for a new password works once, for an hour.
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
    """The address at which a person chooses a new password; needs no request, and believes no Host header."""
    return f"{settings.public_url}/reset/{_serializer(settings).dumps([user.id, _fingerprint(user)])}"


def user_of(token: str, settings: Settings) -> User | None:
    """Whose link this is, or None: too old, used, changed, or for somebody who may not sign in."""
    try:
        number, fingerprint = _serializer(settings).loads(token, max_age=int(VALID_FOR.total_seconds()))
    except (BadData, TypeError, ValueError):
        return None
    user = db.session.get(User, number)
    if user is None or not user.active or _fingerprint(user) != fingerprint:
        return None
    return user


def confirm_url(user: User, settings: Settings) -> str:
    """The address at which a person confirms that they get what is sent to theirs."""
    token = _serializer(settings, "confirm").dumps([user.id, _of_address(user)])
    return f"{settings.public_url}/confirm/{token}"


def user_to_confirm(token: str, settings: Settings) -> User | None:
    """Whose address the link confirms, or None: too old, unless it did its work before, or never made by us."""
    expired = False
    try:
        payload = _serializer(settings, "confirm").loads(token, max_age=int(CONFIRM_WITHIN.total_seconds()))
    except SignatureExpired as error:
        payload, expired = _serializer(settings, "confirm").load_payload(error.payload or b""), True
    except (BadData, TypeError, ValueError):
        return None
    user = db.session.get(User, payload[0])
    if user is None or not user.active or payload[1] != _of_address(user):
        return None
    return None if expired and user.confirmed_at is None else user


def _of_address(user: User) -> str:
    return hashlib.sha256(user.email.encode()).hexdigest()[:32]


def _fingerprint(user: User) -> str:
    """Changes with the password and with whatever ends a person's sessions."""
    return hashlib.sha256(f"{user.fs_uniquifier}:{user.password}".encode()).hexdigest()[:32]


def _serializer(settings: Settings, purpose: str = "reset") -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(settings.secret_key, salt=f"beatdesk.{purpose}")
