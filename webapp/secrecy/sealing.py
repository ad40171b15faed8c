"""Texts that are kept encrypted and opened only where they are used.

Fernet (AES-128-CBC and HMAC-SHA256) with a key that HKDF derives from the application's secret key, so that every
process with the same SECRET_KEY can open what another one sealed, and nobody who only has the database can. A version
stands before each sealed text.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

VERSION = "v1:"
_INFO = b"beatdesk sealed arguments v1"


class Unopenable(Exception):
    """A sealed text cannot be opened here: it was altered, or sealed with another SECRET_KEY."""


_secret: str | None = None


def use(secret: str) -> None:
    """Seal and open with this secret key from now on, in this process."""
    global _secret  # noqa: PLW0603  # a process has one SECRET_KEY; beat and tasks have no application to keep it in
    _secret = secret


def seal(text: str) -> str:
    """The text, encrypted; another one each time. Raises RuntimeError before `use`."""
    return VERSION + str(_fernet(_key()).encrypt(text.encode()).decode())


def unseal(sealed: str) -> str:
    """What was sealed. Raises Unopenable."""
    from cryptography.fernet import InvalidToken

    if not sealed.startswith(VERSION):
        raise Unopenable("it is of a kind that is not known here")
    try:
        return str(_fernet(_key()).decrypt(sealed.removeprefix(VERSION).encode()).decode())
    except (InvalidToken, ValueError):
        raise Unopenable("its secret arguments were sealed with another SECRET_KEY, or altered") from None


def _key() -> str:
    if _secret is None:
        raise RuntimeError("no secret key was given to seal with")
    return _secret


@lru_cache(maxsize=4)
def _fernet(secret: str) -> Any:
    # Loaded when the first secret comes: most processes never see one, and the library takes its time.
    from base64 import urlsafe_b64encode

    from cryptography.fernet import Fernet
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return Fernet(urlsafe_b64encode(HKDF(SHA256(), 32, salt=None, info=_INFO).derive(secret.encode())))
