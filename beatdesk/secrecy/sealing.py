"""Sealing: encryption of secret texts that are opened only where they are used.

AES-256-GCM with a key that HKDF derives from the application's secret key: every process with the same SECRET_KEY can
open a sealed text, and the database alone is not enough. A sealed text is `v2:KEY:…`, where KEY names the key, so that
keys can be replaced. It is bound to its context: one sealed for `("schedule", TASK, "kwargs", "password")` cannot be
opened in another place, so that copying it is useless.

`v1:…`, of former versions, is Fernet without a context. It is still opened in our tables, and not created any more.
"""

from __future__ import annotations

import json
import os
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from functools import lru_cache
from typing import Any

from beatdesk.secrecy.text import SEALED, hide

FIRST_VERSION, VERSION = "v1", "v2"
_NONCE = 12
_V1_INFO, _V2_INFO, _KEY_NAME_INFO = (
    b"beatdesk sealed arguments v1", b"beatdesk sealed arguments v2", b"beatdesk name of the sealing key",
)  # fmt: skip
_FORM = re.compile(r"v[0-9]+:.*", re.DOTALL)


class Unopenable(Exception):
    """A sealed text cannot be opened here: it was altered, sealed with another SECRET_KEY, or for another place."""


_secret: str | None = None


def use(secret: str) -> None:
    """Seal and open with this secret key from now on, in this process."""
    global _secret  # noqa: PLW0603  # a process has one SECRET_KEY; beat and tasks have no application to keep it in
    _secret = secret


def has_key() -> bool:
    """Whether this process can seal: an adopted worker has no SECRET_KEY, and masks what others seal."""
    return _secret is not None


def seal(text: str, *context: Any) -> str:
    """The text encrypted for a context of JSON values, different each time. Raises RuntimeError before `use`."""
    name, cipher = _cipher(_key())
    nonce = os.urandom(_NONCE)
    sealed = urlsafe_b64encode(nonce + cipher.encrypt(nonce, text.encode(), _bytes(context)))
    return f"{VERSION}:{name}:{sealed.decode()}"


def unseal(sealed: str, *context: Any) -> str:
    """The text that was sealed for this context. Raises Unopenable."""
    version, _, rest = sealed.partition(":")
    if version == FIRST_VERSION:
        return _unseal_first(rest)
    if version != VERSION:
        raise Unopenable("it has an unknown format")
    name, cipher = _cipher(_key())
    key, _, text = rest.partition(":")
    if key != name:
        raise Unopenable("its secret arguments were sealed with another SECRET_KEY")
    from cryptography.exceptions import InvalidTag

    try:
        content = urlsafe_b64decode(text)
        return str(cipher.decrypt(content[:_NONCE], content[_NONCE:], _bytes(context)).decode())
    except (InvalidTag, ValueError):
        raise Unopenable("its secret arguments were altered, or sealed for another place") from None


def version_of(sealed: str) -> str:
    """The version in a sealed text; empty for text that cannot be sealed."""
    return sealed.partition(":")[0] if _FORM.fullmatch(sealed) else ""


def looks_sealed(value: Any) -> bool:
    """Whether a value is text in the form of sealed text."""
    return isinstance(value, str) and value.startswith(SEALED) and bool(version_of(value.removeprefix(SEALED)))


def needs_sealing(value: Any, hidden: int) -> bool:
    """Whether a value is secret, contains a secret, or looks sealed."""
    return bool(hidden) or (isinstance(value, str) and (looks_sealed(value) or hide(value) != value))


def _unseal_first(text: str) -> str:
    from cryptography.fernet import InvalidToken

    try:
        return str(_fernet(_key()).decrypt(text.encode()).decode())
    except (InvalidToken, ValueError):
        raise Unopenable("its secret arguments were sealed with another SECRET_KEY, or altered") from None


def _bytes(context: tuple[Any, ...]) -> bytes:
    return json.dumps(context).encode()


def _key() -> str:
    if _secret is None:
        raise RuntimeError("no secret key was given to seal with")
    return _secret


# Imported for the first secret: most processes have none, and the import is slow.
@lru_cache(maxsize=4)
def _cipher(secret: str) -> tuple[str, Any]:
    """The name of the key, and the cipher with it."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return _derived(secret, _KEY_NAME_INFO, 4).hex(), AESGCM(_derived(secret, _V2_INFO, 32))


@lru_cache(maxsize=4)
def _fernet(secret: str) -> Any:
    from cryptography.fernet import Fernet

    return Fernet(urlsafe_b64encode(_derived(secret, _V1_INFO, 32)))


def _derived(secret: str, info: bytes, length: int) -> bytes:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return bytes(HKDF(SHA256(), length, salt=None, info=info).derive(secret.encode()))
