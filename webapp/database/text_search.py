"""Case-insensitive search for a part of a text in a column, in the cheapest form of each database.

Most of the time of such a search goes into folding the case of every row. For ASCII text both databases have a quick
form; other letters are folded by PostgreSQL, and compared with their case by SQLite.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from webapp.database.dialects import Either

# Up to this length in bytes LIKE is quicker than strpos(), which can skip ahead in longer searches.
MAX_LIKE_BYTES = 2


def mentions(column: Any, text: str) -> sa.ColumnElement[bool]:
    """Whether a column contains the text; False or NULL if it does not."""
    # In this collation lower() is one table lookup for each letter. A LIKE with ESCAPE would process its pattern for
    # each row.
    found = sa.func.strpos(sa.func.lower(sa.collate(column, "C")), text.lower()) > 0
    return Either(
        on_sqlite=_like(column, text),
        on_postgresql=found if text.isascii() else column.ilike(f"%{_escaped(text)}%", escape="/"),
    )


def mentions_folded(column: Any, text: str) -> sa.ColumnElement[bool]:
    """The same for a column whose texts were folded by the database's `lower()` when they were written."""
    # Folded in a subquery, once: a cached plan of PostgreSQL would fold it for each row.
    if len(text.encode()) <= MAX_LIKE_BYTES and not set(text).intersection("%_\\"):
        found = column.like(sa.select(sa.func.lower(f"%{text}%")).scalar_subquery())
    else:
        found = sa.func.strpos(column, sa.select(sa.func.lower(text)).scalar_subquery()) > 0
    return Either(on_sqlite=_like(column, text), on_postgresql=found)


def contains(column: Any, text: str) -> sa.ColumnElement[bool]:
    """Whether a column contains this text, with its case; SQLite ignores the case of A to Z."""
    # If possible a constant pattern without ESCAPE: PostgreSQL evaluates any other one for each row.
    special = set(text).intersection("%_/\\")
    found: sa.ColumnElement[bool] = column.contains(text, autoescape=True) if special else column.like(f"%{text}%")
    return found


def _like(column: Any, text: str) -> Any:
    """SQLite's LIKE, which ignores the case of A to Z."""
    return column.like(f"%{_escaped(text)}%", escape="/")


def _escaped(text: str) -> str:
    return text.replace("/", "//").replace("%", "/%").replace("_", "/_")
