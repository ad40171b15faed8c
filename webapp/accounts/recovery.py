"""Links for people who forgot their password.

A link is a signed text with a fingerprint of the password that it replaces: it works once, for an hour, and no row has
to be kept for it. It is made when the mail is sent, so that the ledger never holds one.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta

from itsdangerous import BadData, URLSafeTimedSerializer

from webapp.accounts.models import User
from webapp.config import Settings
from webapp.extensions import db

VALID_FOR = timedelta(hours=1)


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


def _fingerprint(user: User) -> str:
    """Changes with the password and with whatever ends a person's sessions."""
    return hashlib.sha256(f"{user.fs_uniquifier}:{user.password}".encode()).hexdigest()[:32]


def _serializer(settings: Settings) -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(settings.secret_key, salt="beatdesk.reset")
