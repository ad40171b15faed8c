"""What stands in an address, made safe to ask a database with: the numbers in its path, and its query."""

from __future__ import annotations

from typing import Any

from flask import request
from werkzeug.routing import IntegerConverter, Map

from webapp.database.paging import LARGEST_ID

LONGEST_TEXT = 200


class IdConverter(IntegerConverter):
    """`<int:…>` in a route, from 0 to `LARGEST_ID`: with another number the address is that of nothing (404)."""

    regex = r"\d{1,10}"

    def __init__(self, rules: Map, *args: Any, **options: Any) -> None:
        super().__init__(rules, *args, **{"max": LARGEST_ID, **options})


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
