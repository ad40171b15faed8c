"""Rate limits against guessing passwords and against sending mail to strangers.

An attempt is counted before it is checked, so that parallel attempts count like consecutive ones, and uncounted when it
succeeds. Counts are stored in Redis, or in this process's memory while Redis is down.

Other people's wrong attempts can lock an account for a while, but never for its owner: a browser in which the owner has
signed in, or has followed a link to reset the password, carries a signed device cookie and has limits of its own.
"""

from __future__ import annotations

import functools
import hashlib
import ipaddress
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from flask import Response, current_app, request, session
from itsdangerous import BadData, URLSafeTimedSerializer
from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from werkzeug.exceptions import TooManyRequests

from webapp.extensions import limiter
from webapp.identity.addresses import normal_email
from webapp.identity.models import User
from webapp.web.errors import DomainError
from webapp.web.hosts import current_settings, set_cookie

View = TypeVar("View", bound=Callable[..., Any])

FAILURES = parse("10 per 5 minutes")
FAILURES_OVERALL = parse("1000 per 5 minutes")
# The token in a link cannot be guessed; this limit only bounds the work.
LINK_USES = parse("30 per 5 minutes")
# A valid token is uncounted once it is found; until then, parallel look-ups count.
TOKEN_FAILURES = parse("100 per 5 minutes")
REQUESTS = "1000 per 5 minutes"
# The period is shorter than the hour for which a link is valid: once no further mail is sent, the last link is still
# valid for half an hour.
MAILS_TO_ACCOUNT = parse("6 per 30 minutes")
REGISTRATIONS = parse("20 per hour")
REGISTRATIONS_AT_DOMAIN = parse("100 per hour")
REGISTRATIONS_OVERALL = parse("500 per hour")
REGISTRATION_REQUESTS = "200 per 5 minutes"

TOO_MANY = "Too many attempts. Wait five minutes, then try again."
SIGN_IN_MESSAGE = f"{TOO_MANY} Or use “Forgot your password?” to sign in with a link now."
REGISTRATION_MESSAGE = "Too many registrations. Try again in an hour."
DEVICE_LIFETIME = 365 * 24 * 3600  # seconds
WRONG_PASSWORD = 401


@dataclass(frozen=True, slots=True)
class Count:
    """A limit, and the scope and key under which attempts count against it."""

    limit: RateLimitItem
    scope: str
    key: str


class TooManyAttempts(TooManyRequests):
    """An attempt over the limit. It is not counted, so that further attempts do not prolong the wait."""


class Attempt:
    """An attempt that was counted against each of its limits."""

    def __init__(self, counts: tuple[Count, ...]) -> None:
        self._counts = counts

    def uncount(self) -> None:
        """Remove it from the counts: it succeeded, or nothing was checked."""
        for count in self._counts:
            _use_storage(functools.partial(_remove, count))
        self._counts = ()


def count_attempt(*counts: Count, message: str = TOO_MANY) -> Attempt:
    """Count an attempt before it is checked. Raises TooManyAttempts, a 429, when one of the limits is reached."""
    if not limiter.enabled:
        return Attempt(())
    counted: tuple[Count, ...] = ()
    for count in counts:
        if not _use_storage(functools.partial(_add, count)):
            Attempt(counted).uncount()
            raise TooManyAttempts(message, retry_after=_use_storage(functools.partial(_seconds_until_free, count)))
        counted += (count,)
    return Attempt(counted)


def limit_sign_in(view: View) -> View:
    """Limit wrong passwords by account, by network address and overall; from a known device by the device alone."""

    def counts() -> tuple[Count, ...]:
        scope = "wrong-password"
        if device := _known_device():
            return (Count(FAILURES, scope, device),)
        return (
            Count(FAILURES, scope, address()),
            Count(FAILURES, scope, f"account:{_hash(_email())}"),
            Count(FAILURES_OVERALL, scope, "everybody"),
        )

    return _limited(view, counts, message=SIGN_IN_MESSAGE)


def limit_own_password(view: View) -> View:
    """Limit guesses of the signed-in user's password.

    The user is taken from the signed session cookie: loading the user would take a lock in the database.
    """
    return _limited(view, lambda: (Count(FAILURES, "own-password", f"user:{_hash(str(session.get('_user_id')))}"),))


def limit_mail(view: View) -> View:
    """Limit requests for a link by mail, by network address; `count_mail` limits the mails to one account."""

    def counts() -> tuple[Count, ...]:
        return (Count(FAILURES, "mail", _known_device() or address()),)

    return _limited(view, counts, counts_when=lambda _status: True)


def limit_registrations(view: View) -> View:
    """Limit registrations by network address, by mail domain and overall; a form with a mistake does not count."""

    def counts() -> tuple[Count, ...]:
        scope = "registration"
        return (
            Count(REGISTRATIONS, scope, address()),
            Count(REGISTRATIONS_AT_DOMAIN, scope, f"domain:{_hash(_receiving_domain(_email()))}"),
            Count(REGISTRATIONS_OVERALL, scope, "everybody"),
        )

    return _limited(
        view,
        counts,
        message=REGISTRATION_MESSAGE,
        requests=REGISTRATION_REQUESTS,
        counts_when=lambda status: status < 400,
    )


def count_link(user: User) -> None:
    """Count one use of a link that was mailed to a person. Raises TooManyAttempts."""
    count_attempt(Count(LINK_USES, "link", f"user:{user.id}"))


def count_mail(user_id: int) -> Attempt | None:
    """Count one more link mailed to a person on request; None when the account's limit is reached.

    A known device has a limit of its own.
    """
    try:
        return count_attempt(Count(MAILS_TO_ACCOUNT, "mails", _known_device() or f"user:{user_id}"))
    except TooManyAttempts:
        return None


def count_token() -> Attempt:
    """Count the look-up of a bearer token beforehand; call `uncount` when it is valid. Raises TooManyAttempts."""
    return count_attempt(Count(TOKEN_FAILURES, "wrong-token", address()))


def count_event(name: str, seconds: int) -> int:
    """Count an event; gives how often it has happened within `seconds`, this time included."""
    return int(_use_storage(lambda storage: storage.incr(f"event:{_hash(name)}", seconds)))


def _limited(
    view: View,
    counts: Callable[[], tuple[Count, ...]],
    *,
    message: str = TOO_MANY,
    requests: str = REQUESTS,
    counts_when: Callable[[int], bool] = lambda status: status == WRONG_PASSWORD,
) -> View:
    """Count each POST before the view runs; `counts_when` decides by the response's status whether it stays counted."""

    @functools.wraps(view)
    def counted(*args: Any, **kwargs: Any) -> Any:
        if request.method != "POST":
            return view(*args, **kwargs)
        attempt = count_attempt(*counts(), message=message)
        status = 500
        try:
            response = current_app.make_response(view(*args, **kwargs))
            status = response.status_code
        except DomainError as error:
            status = error.status
            raise
        finally:
            if not counts_when(status):
                attempt.uncount()
        return response

    # All requests, whatever their outcome: each costs the hashing of a password. This limit also notices that Redis is
    # back.
    limit = limiter.limit(requests, key_func=address, methods=["POST"], error_message=TOO_MANY)
    return cast("View", limit(counted))


# Flask-Limiter adds entries and reads them, but cannot remove one.


def _use_storage(use: Callable[[Any], Any]) -> Any:
    """Call `use` with the storage: Redis, or this process's memory while Redis is down."""
    try:
        return use(limiter.limiter.storage)
    except Exception:
        if limiter._storage_dead:  # noqa: SLF001  # it has no public name for this
            raise
        limiter._storage_dead = True  # noqa: SLF001
        return use(limiter.limiter.storage)


def _add(count: Count, storage: Any) -> bool:
    # The library's memory storage is not protected against its own thread that clears old entries.
    with _memory if isinstance(storage, MemoryStorage) else nullcontext():
        return bool(storage.acquire_entry(_key(count), count.limit.amount, count.limit.get_expiry()))


def _remove(count: Count, storage: Any) -> None:
    """Remove the newest entry, which is this attempt's or was added at the same moment."""
    key = _key(count)
    if isinstance(storage, MemoryStorage):
        with _memory, storage.locks[key]:
            del storage.events.get(key, [])[:1]
    else:
        storage.get_connection().lpop(storage.prefixed_key(key))


def _seconds_until_free(count: Count, storage: Any) -> int:
    """Seconds until the oldest entry no longer counts."""
    oldest, _ = storage.get_moving_window(_key(count), count.limit.amount, count.limit.get_expiry())
    return max(1, int(oldest + count.limit.get_expiry() - time.time()))


def _key(count: Count) -> str:
    return count.limit.key_for(count.scope, count.key)


_memory = threading.Lock()


def remember_device(response: Response, user: User) -> Response:
    """Give this browser a device cookie, with which it has limits of its own."""
    value = _serializer().dumps([_hash(user.email), secrets.token_hex(8)])
    set_cookie(response, _cookie_name(), value, DEVICE_LIFETIME)
    return response


def address() -> str:
    """The client's network address as a key: an IPv4 address, or the /64 network that one IPv6 subscriber has."""
    text = request.remote_addr or "unknown"
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        return f"address:{text}"
    if parsed.version == 6:
        parsed = ipaddress.ip_network((parsed, 64), strict=False).network_address
    return f"address:{parsed}"


def _known_device() -> str:
    """The key of the device cookie, if it belongs to the account that the request names; else ""."""
    try:
        account, number = _serializer().loads(request.cookies.get(_cookie_name(), ""), max_age=DEVICE_LIFETIME)
    except (BadData, TypeError, ValueError):
        return ""
    return f"device:{number}" if account == _hash(_email()) else ""


def _receiving_domain(email: str) -> str:
    """The registered domain of an address, approximately: the owner of a domain can make any number of subdomains."""
    labels = email.rpartition("@")[2].split(".")
    # co.uk, com.np; abc.com is registered itself.
    below_country = len(labels) > 2 and len(labels[-1]) == 2 and len(labels[-2]) <= 3
    return ".".join(labels[-3 if below_country else -2 :])


def client_digest() -> str:
    """A short digest of the client that requests a mail, from which it cannot be identified."""
    return _hash(_known_device() or address())[:8]


def _email() -> str:
    """The email address that the request names."""
    given = request.get_json(silent=True) if request.is_json else request.form
    return normal_email(given.get("email")) if isinstance(given, dict) else ""


def _hash(text: str) -> str:
    """The SHA-256 of a text, shortened: neither Redis nor cookies hold people's addresses."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:32]


def _cookie_name() -> str:
    return f"{current_settings().cookie_prefix}beatdesk-device"


def _serializer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(current_settings().secret_key, salt="beatdesk.device")
