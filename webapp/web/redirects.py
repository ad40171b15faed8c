"""Checks that a redirect after signing in stays on this site."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

# How often a path is decoded before it is trusted; each proxy on the way may decode it once.
MAX_DECODINGS = 3


def safe_path(wanted: object, root: str = "") -> str | None:
    """The wanted path if it certainly stays on this site, below its root; else None.

    Browsers read a backslash as a slash, drop tabs and line breaks, and skip leading blanks and control characters. A
    path that they or a proxy could read as `//host` is refused, plain or percent-encoded.
    """
    if not isinstance(wanted, str) or not wanted:
        return None
    text = wanted
    for _ in range(MAX_DECODINGS):
        if not _plain_path(text):
            return None
        text = unquote(text)
    return wanted if _plain_path(text) and text.startswith(f"{root}/") else None


def _plain_path(text: str) -> bool:
    if not text.startswith("/") or "\\" in text or not text.isprintable():
        return False
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    path = re.split(r"[?#]", text, maxsplit=1)[0]
    return not parts.scheme and not parts.netloc and "//" not in path and "/../" not in f"{path}/"
