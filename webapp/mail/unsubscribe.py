"""One-click unsubscribe (RFC 8058): the headers of a mail, and the signed token in its link.

The token allows ending one kind of mail to one person, and nothing else. It needs no sign-in and does not expire,
because people keep mail for years.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from itsdangerous import BadData, URLSafeSerializer

_SALT = "beatdesk.mail.unsubscribe"


@dataclass(frozen=True, slots=True)
class Subscription:
    """One kind of mail to one person, as a token names it."""

    user_id: int | str
    kind: str


def make_token(secret: str, user_id: int | str, kind: str) -> str:
    """A token for a link, in URL-safe characters. `secret` is the application's secret key."""
    return _serializer(secret).dumps([user_id, kind])


def read_token(secret: str, token: str) -> Subscription | None:
    """The subscription that a token names; None for any text that `make_token` did not make with this secret."""
    try:
        payload = _serializer(secret).loads(token)
    except BadData:
        return None
    match payload:
        case [int() | str() as user_id, str() as kind]:
            return Subscription(user_id, kind)
    return None


def unsubscribe_headers(url: str) -> dict[str, str]:
    """The two headers that let a mail program offer "Unsubscribe", which sends a POST to `url`.

    Mail programs accept only https. Raises ValueError unless `url` is one absolute http or https URL in ASCII.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("The link must be an absolute http or https address.")
    if not url.isascii() or not url.isprintable() or any(character in "<> ,\\" for character in url):
        raise ValueError("The link has characters that cannot stand in a header.")
    return {"List-Unsubscribe": f"<{url}>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}


def _serializer(secret: str) -> URLSafeSerializer:
    return URLSafeSerializer(secret, salt=_SALT)
