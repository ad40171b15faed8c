"""Against guessing passwords: how many attempts may fail, without ever locking the owner out for good.

Failures are counted by account, by address and overall. A browser in which the owner has signed in before carries a
signed device cookie and is counted by itself, so that a stranger who keeps failing cannot keep the owner out.
"""

from __future__ import annotations

import hashlib
import ipaddress
import logging
import secrets
from collections.abc import Callable
from typing import Any

from flask import Response, current_app, request, session
from itsdangerous import BadData, URLSafeTimedSerializer
from limits import parse
from werkzeug.exceptions import TooManyRequests

from webapp.accounts.addresses import normal_email
from webapp.accounts.models import User
from webapp.config import Settings
from webapp.extensions import limiter

logger = logging.getLogger(__name__)

View = Callable[..., Any]

FAILURES = "10 per 5 minutes"
FAILURES_OVERALL = "1000 per 5 minutes"
REQUESTS = "1000 per 5 minutes"
MESSAGE = "Too many attempts. Wait five minutes, then try again."
DEVICE_LIFETIME = 365 * 24 * 3600  # seconds
WRONG_PASSWORD = 401


def limit_failures(view: View) -> View:
    """Limit how often a view may answer 401 to a POST: wrong passwords, that is. All such views count together."""
    for limit, key, exempt in (
        (FAILURES, _account, _known_device),
        (FAILURES, address, _known_device),
        (FAILURES_OVERALL, _everybody, _known_device),
        (FAILURES, _device, lambda: not _known_device()),
    ):
        view = limiter.shared_limit(
            limit,
            scope="wrong-password",
            key_func=key,
            methods=["POST"],
            exempt_when=exempt,
            deduct_when=_failed,
            error_message=MESSAGE,
        )(view)
    return view


def count_wrong_token() -> bool:
    """Count a wrong bearer token from this address; gives whether it is the first for a while.

    Answers 429 to whoever has sent too many. A right token is never refused: it cannot be guessed, and what others at
    the same address send must not keep it out.
    """
    limit = parse(FAILURES)
    try:
        allowed = limiter.limiter.hit(limit, "wrong-token", address())
        left = limiter.limiter.get_window_stats(limit, "wrong-token", address()).remaining
    except Exception as error:  # noqa: BLE001  # whatever the storage raises: it is away, and nothing can be counted
        logger.warning("wrong tokens are not counted: %s", error)
        return False
    if not allowed:
        raise TooManyRequests(MESSAGE, retry_after=limit.get_expiry())
    return left == limit.amount - 1


def limit_mail(view: View) -> View:
    """Limit how often a view that sends mail to a given address may be asked."""
    for key in (_account, address):
        view = limiter.limit(FAILURES, key_func=key, methods=["POST"], error_message=MESSAGE)(view)
    return view


def limit_requests(view: View) -> View:
    """Limit how often one address may ask for something that costs a password's hash."""
    return limiter.limit(REQUESTS, key_func=address, methods=["POST"], error_message=MESSAGE)(view)


def remember_device(response: Response, user: User) -> Response:
    """Let this browser be counted by itself from now on."""
    response.set_cookie(
        _cookie_name(),
        _serializer().dumps([_hash(user.email), secrets.token_hex(8)]),
        max_age=DEVICE_LIFETIME,
        secure=_settings().secure_cookies,
        httponly=True,
        samesite="Lax",
    )
    return response


def address() -> str:
    """Who counts as one asker: an IPv4 address, or the /64 that one IPv6 subscriber has to themselves."""
    text = request.remote_addr or "unknown"
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        return f"address:{text}"
    if parsed.version == 6:
        parsed = ipaddress.ip_network((parsed, 64), strict=False).network_address
    return f"address:{parsed}"


def _failed(response: Response) -> bool:
    return response.status_code == WRONG_PASSWORD


def _account() -> str:
    """Who signs in, or who is signed in and proves it again; read from the cookie, since asking would take a lock."""
    return f"account:{_hash(_email() or str(session.get('_user_id')))}"


def _everybody() -> str:
    return "everybody"


def _device() -> str:
    known = _read_device()
    return f"device:{known[1]}" if known else "device:none"


def _known_device() -> bool:
    known = _read_device()
    return known is not None and known[0] == _hash(_email())


def _read_device() -> tuple[str, str] | None:
    try:
        account, number = _serializer().loads(request.cookies.get(_cookie_name(), ""), max_age=DEVICE_LIFETIME)
    except (BadData, TypeError, ValueError):
        return None
    return account, number


def _email() -> str:
    """The address of the account that is being tried."""
    given = request.get_json(silent=True) if request.is_json else request.form
    return normal_email(given.get("email")) if isinstance(given, dict) else ""


def _hash(email: str) -> str:
    """Addresses of people stand neither in Redis nor in cookies."""
    return hashlib.sha256(email.encode("utf-8", "replace")).hexdigest()[:32]


def _cookie_name() -> str:
    return "__Host-beatdesk-device" if _settings().secure_cookies else "beatdesk-device"


def _serializer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(_settings().secret_key, salt="beatdesk.device")


def _settings() -> Settings:
    settings: Settings = current_app.extensions["settings"]
    return settings
