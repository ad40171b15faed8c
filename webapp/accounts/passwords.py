"""Which passwords are taken, and how they are kept and checked.

At least twelve characters, no rules of composition, guessable ones refused (OWASP ASVS 5.0, 6.2). Kept as argon2id.
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

SHORTEST = 12
# Far above the 64 that must be allowed; without an end, a request of megabytes would be hashed.
LONGEST = 200
# The hashing library refuses more, counted after Unicode has been unfolded.
LONGEST_IN_BYTES = 4096

# How many characters the estimate reads: its time grows with their cube, and what begins strong is strong.
ESTIMATED_LENGTH = 48
# Powers of ten. The lower one is for words alone, as people join them to phrases.
LEAST_GUESSES = 10.0
LEAST_GUESSES_OF_WORDS = 8.0
# Signs that stand for one letter, as one sign: zxcvbn tries every assignment of signs to letters, which would be
# hundreds for a text that has them all.
_SIGNS = str.maketrans("@{[<!|$+", "4(((1157")
# What many choose because it is long; each word counts for nothing beside the others.
_PHRASES = tuple(Path(__file__).with_name("known_phrases.txt").read_text("ascii").split())
# zxcvbn keeps the words about the owner in a table of its module.
_estimating = Lock()


def refusal(password: object, about: Iterable[str] = ()) -> str | None:
    """Why a password cannot be taken, or None; `about` are words about its owner, such as name and address."""
    if not isinstance(password, str) or not password:
        return "Choose a password."
    if len(password) < SHORTEST:
        return f"Use at least {SHORTEST} characters. A few unrelated words are easy to remember."
    if len(password) > LONGEST or len(_normal(password).encode()) > LONGEST_IN_BYTES:
        return f"Use at most {LONGEST} characters."
    if _is_guessable(password, about):
        return (
            "This password would be guessed quickly: it is made of common words, names or patterns. "
            "Use four or more words that are unrelated to each other and to you."
        )
    return None


def hashed(password: str) -> str:
    """What is stored of a password."""
    return str(hash_password(_normal(password)))


def matches(user: User | None, password: object) -> bool:
    """Whether this is the person's password. Takes as long for somebody unknown as for a wrong password."""
    text = _normal(password) if isinstance(password, str) else ""
    if len(text.encode()) > LONGEST_IN_BYTES:
        text = ""
    if user is None or not text:
        hash_password(text or "nothing was given")
        return False
    return bool(verify_password(text, user.password))


def random_password() -> str:
    """A password that nobody can guess and that can be read out."""
    return "-".join(secrets.token_hex(2) for _ in range(6))


def _normal(password: str) -> str:
    """One spelling of the same characters, whatever the keyboard composed."""
    return str(_security.password_util.normalize(password))


def _is_guessable(password: str, about: Iterable[str]) -> bool:
    """Whether it takes few guesses as it is, or with everything left out that is neither letter nor digit."""
    text = password.casefold()[:ESTIMATED_LENGTH]
    words = _words((*about, "beatdesk"))
    with _estimating:
        return any(_guesses(form, words) < least for form, least in _forms(text))


def _forms(text: str) -> Iterator[tuple[str, float]]:
    plain = text.translate(_SIGNS)
    yield plain, LEAST_GUESSES
    only_words = plain == text and not re.search(r"\d", text)
    for form in {re.sub(r"[\W_]+", "", text), re.sub(r"[\W_]+", "", plain)} - {plain, ""}:
        yield form, LEAST_GUESSES_OF_WORDS if only_words else LEAST_GUESSES


def _words(about: Iterable[str]) -> list[str]:
    """Words about the owner, which are known to whoever guesses, and those words written as one."""
    found = []
    for text in about:
        pieces = re.findall(r"[^\W_]+", text.casefold())
        found += [piece for piece in pieces if len(piece) > 2] + ["".join(pieces)]
    return [*dict.fromkeys(filter(None, found)), *_PHRASES]


def _guesses(text: str, words: list[str]) -> float:
    """How many guesses the parts take in any order, as a power of ten.

    zxcvbn's own sum gives each further part four digits more, so that four trivial ones would be strong.
    """
    # Here, because only what sets a password needs its lists, which take 15 MB.
    from zxcvbn import zxcvbn

    parts = zxcvbn(text, words)["sequence"]
    return math.log10(math.factorial(len(parts))) + sum(math.log10(part["guesses"]) for part in parts)
