"""Validating, hashing and checking passwords.

At least twelve characters, no rules of composition, guessable ones refused (OWASP ASVS 5.0, 6.2). Hashed by argon2id.
"""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from threading import Lock

from flask_security.proxies import _security
from flask_security.utils import hash_password, verify_password

from webapp.identity.models import User

MIN_LENGTH = 12
# Far above the 64 that must be allowed; without a limit, a request of megabytes would be hashed.
MAX_LENGTH = 200
# The hashing library refuses more, counted after Unicode normalisation.
MAX_BYTES = 4096

# How many characters are rated: the time grows with their cube, and a password with a strong beginning is strong.
RATED_LENGTH = 48
# Powers of ten. The lower one is for passphrases, which are made of words alone.
MIN_GUESSES = 10.0
MIN_GUESSES_OF_WORDS = 8.0
# Of several signs for one letter, only one is kept: zxcvbn tries every combination of signs and letters, which would be
# hundreds for a text that has all of them.
_SIGNS = str.maketrans("@{[<!|$+", "4(((1157")
# Long passwords that many people choose; their words add nothing to each other.
_PHRASES = tuple(Path(__file__).with_name("known_phrases.txt").read_text("ascii").split())
# zxcvbn stores the words about the owner in a global table.
_estimating = Lock()


def refusal(password: object, about: Iterable[str] = ()) -> str | None:
    """Why a password is refused, or None; `about` are words about its owner, such as name and address."""
    if not isinstance(password, str) or not password:
        return "Choose a password."
    if len(password) < MIN_LENGTH:
        return f"Use at least {MIN_LENGTH} characters. A few unrelated words are easy to remember."
    if len(password) > MAX_LENGTH or len(_normal(password).encode()) > MAX_BYTES:
        return f"Use at most {MAX_LENGTH} characters."
    if _is_guessable(password, about):
        return (
            "This password would be guessed quickly: it is made of common words, names or patterns. "
            "Use four or more words that are unrelated to each other and to you."
        )
    return None


def hashed(password: str) -> str:
    """The hash of a password, as it is stored."""
    return str(hash_password(_normal(password)))


def matches(user: User | None, password: object) -> bool:
    """Whether this is the user's password. Takes as long for an unknown user as for a wrong password."""
    text = _normal(password) if isinstance(password, str) else ""
    if len(text.encode()) > MAX_BYTES:
        text = ""
    if user is None or not text:
        hash_password(text or "nothing was given")
        return False
    return bool(verify_password(text, user.password))


def random_password() -> str:
    """A random password that is easy to read aloud."""
    return "-".join(secrets.token_hex(2) for _ in range(6))


def _normal(password: str) -> str:
    """The password in Unicode normal form, independent of how the keyboard composes characters."""
    return str(_security.password_util.normalize(password))


def _is_guessable(password: str, about: Iterable[str]) -> bool:
    """Whether few guesses suffice for the password as it is, or for its letters and digits alone."""
    text = password.casefold()[:RATED_LENGTH]
    words = _words((*about, "beatdesk"))
    with _estimating:
        return any(_guesses(form, words) < least for form, least in _forms(text))


def _forms(text: str) -> Iterator[tuple[str, float]]:
    plain = text.translate(_SIGNS)
    yield plain, MIN_GUESSES
    only_words = plain == text and not re.search(r"\d", text)
    for form in {re.sub(r"[\W_]+", "", text), re.sub(r"[\W_]+", "", plain)} - {plain, ""}:
        yield form, MIN_GUESSES_OF_WORDS if only_words else MIN_GUESSES


def _words(about: Iterable[str]) -> list[str]:
    """Words that an attacker tries first: those about the owner, singly and joined, and common phrases."""
    found = []
    for text in about:
        pieces = re.findall(r"[^\W_]+", text.casefold())
        found += [piece for piece in pieces if len(piece) > 2] + ["".join(pieces)]
    return [*dict.fromkeys(filter(None, found)), *_PHRASES]


def _guesses(text: str, words: list[str]) -> float:
    """The number of guesses for the parts in any order, as a power of ten.

    zxcvbn's own sum adds four digits for each further part, so that four trivial parts would be strong.
    """
    # Imported here because its word lists take 15 MB, and are needed only where a password is set.
    from zxcvbn import zxcvbn

    parts = zxcvbn(text, words)["sequence"]
    return math.log10(math.factorial(len(parts))) + sum(math.log10(part["guesses"]) for part in parts)
