"""What stands behind the question mark of an address, made safe to ask a database with."""

from __future__ import annotations

from flask import request

from webapp.paging import LARGEST_ID

LONGEST_TEXT = 200


def text_in_query(name: str, *, most: int = LONGEST_TEXT) -> str:
    """One value without control characters, which PostgreSQL refuses; "" when it is not given."""
    text = request.args.get(name, "")
    return "".join(character for character in text if character.isprintable()).strip()[:most]


def id_in_query(name: str) -> int | None:
    """One id, or None when it is not given or cannot be one."""
    text = request.args.get(name, "")
    if not text.isascii() or not text.isdigit() or len(text) > 10:
        return None
    return min(int(text), LARGEST_ID)
