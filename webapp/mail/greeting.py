"""The name in the greeting of a mail, checked so that a stranger cannot send a message to a third person by it."""

from __future__ import annotations

import re
import unicodedata

MAX_LETTERS = 40
# Between letters, as in O'Neill, Jean-Luc, Gal·la, or Persian and Indic names; a full stop only behind an abbreviation.
_JOINERS = r"\-'’ʼ·\u2010\u05be\u200c\u200d"
_PARTS = re.compile(rf"(?:[^\W\d_]|[{_JOINERS}])+\.?,?")
_ADDRESSES = re.compile(r"www|https?", re.IGNORECASE)


def greeting_name(name: str) -> str:
    """The name for a greeting, in whole words up to 40 letters; "" for text that may be something other than a name."""
    # Without NFKC, compatibility characters such as a full-width solidus would hide a URL.
    text = " ".join(unicodedata.normalize("NFKC", name).split())
    # Combining marks belong to the letter before them.
    bare = "".join(character for character in text if not unicodedata.category(character).startswith("M"))
    if not all(_PARTS.fullmatch(part) for part in bare.split()) or _ADDRESSES.search(bare):
        return ""
    if len(text) <= MAX_LETTERS:
        return text
    short = text[: MAX_LETTERS + 1].rpartition(" ")[0]
    return short.rstrip(",") or text[:MAX_LETTERS]
