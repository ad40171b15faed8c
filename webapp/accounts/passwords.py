"""Which passwords are taken, and how they are kept and checked.

At least twelve characters, no rules of composition, common ones refused (OWASP ASVS 5.0, 6.2). Kept as argon2id.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable

from flask_security.proxies import _security
from flask_security.utils import hash_password, verify_password

from webapp.accounts.common_passwords import ROWS, WORDS
from webapp.accounts.models import User

SHORTEST = 12
# Far above the 64 that must be allowed; without an end, a request of megabytes would be hashed.
LONGEST = 200
# The hashing library refuses more, counted after Unicode has been unfolded.
LONGEST_IN_BYTES = 4096

# A password that is this many common pieces, or fewer, is guessed early.
COMMON_PIECES = 2
_UNLEET = str.maketrans("013457@$!", "oieastasi")
_ALL_ROWS = ROWS + tuple(row[::-1] for row in ROWS)


def refusal(password: object, about: Iterable[str] = ()) -> str | None:
    """Why a password cannot be taken, or None; `about` are words about its owner, such as name and address."""
    if not isinstance(password, str) or not password:
        return "Choose a password."
    if len(password) < SHORTEST:
        return f"Use at least {SHORTEST} characters; a few words in a row are easy to remember."
    if len(password) > LONGEST or len(_normal(password).encode()) > LONGEST_IN_BYTES:
        return f"Use at most {LONGEST} characters."
    if _is_common(password, about):
        return "This is one of the first passwords that would be guessed. Add a few words that nobody would expect."
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


def _is_common(password: str, about: Iterable[str]) -> bool:
    folded = password.casefold()
    plain = re.sub(r"[\W_]+", "", folded) or folded
    own = {piece for text in about for piece in re.split(r"[\W_]+", text.casefold()) if len(piece) >= 4}
    return any(_few_pieces(text, own) for text in {plain, plain.translate(_UNLEET)})


def _few_pieces(text: str, own: set[str]) -> bool:
    """Whether the text is nothing but one or two different common pieces, each as often as it likes."""
    pieces: set[str] = set()
    while text:
        length = _piece(text, own)
        if not length:
            return False
        # Words about the owner are known to whoever guesses; they add nothing.
        pieces |= {text[:length]} - own
        if len(pieces) > COMMON_PIECES:
            return False
        text = text[length:]
    return True


def _piece(text: str, own: set[str]) -> int:
    """The length of the longest common piece at the start of a text, 0 when there is none."""
    return max(_word(text, own), _row(text), _repeated(text), _number(text))


def _word(text: str, own: set[str]) -> int:
    longest = min(len(text), max([15, *map(len, own)]))
    return next((n for n in range(longest, 2, -1) if text[:n] in WORDS or text[:n] in own), 0)


def _row(text: str) -> int:
    return next((n for n in range(min(len(text), 32), 3, -1) if any(text[:n] in row for row in _ALL_ROWS)), 0)


def _repeated(text: str) -> int:
    found = re.match(r"(.{1,4}?)\1{2,}", text, re.DOTALL)
    return found.end() if found else 0


def _number(text: str) -> int:
    """A year, a date, a number behind a word: digits alone carry little when there are eight or fewer."""
    found = re.match(r"\d{1,8}(?!\d)", text)
    return found.end() if found else 0
