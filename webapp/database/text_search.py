"""Looking for a part of a text in a column, whatever its case, at the least cost of each database.

Folding the case of every row is what such a search takes its time for. For a text of ASCII letters both databases have
a quick way; the rest of the world's letters are folded by PostgreSQL, and taken as they are by SQLite.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from webapp.database.dialects import Either

# Bytes up to which LIKE is quicker than strpos(), which skips ahead by what it looks for.
MAX_LIKE_BYTES = 2


def mentions(column: Any, text: str) -> sa.ColumnElement[bool]:
    """Whether a column has the text in it. False or NULL where it has not."""
    # In this collation lower() is one look at a table for each letter. A LIKE with ESCAPE would escape its pattern for
    # each row.
    found = sa.func.strpos(sa.func.lower(sa.collate(column, "C")), text.lower()) > 0
    return Either(
        on_sqlite=_like(column, text),
        on_postgresql=found if text.isascii() else column.ilike(f"%{_escaped(text)}%", escape="/"),
    )


def mentions_folded(column: Any, text: str) -> sa.ColumnElement[bool]:
    """The same for a column whose texts were folded by the database's `lower()` when they were written."""
    # In a query of its own, so that it is folded once: a plan that PostgreSQL keeps would fold it for each row.
    if len(text.encode()) <= MAX_LIKE_BYTES and not set(text).intersection("%_\\"):
        found = column.like(sa.select(sa.func.lower(f"%{text}%")).scalar_subquery())
    else:
        found = sa.func.strpos(column, sa.select(sa.func.lower(text)).scalar_subquery()) > 0
    return Either(on_sqlite=_like(column, text), on_postgresql=found)


def contains(column: Any, text: str) -> sa.ColumnElement[bool]:
    """Whether a column has this text in it. SQLite looks past the case of A to Z."""
    # A pattern without ESCAPE, and whole, where it can be: PostgreSQL works out anything else for each row anew.
    if any(special in text for special in "%_/\\"):
        within: sa.ColumnElement[bool] = column.contains(text, autoescape=True)
    else:
        within = column.like(f"%{text}%")
    return within


def _like(column: Any, text: str) -> Any:
    """SQLite's LIKE looks past the case of A to Z by itself."""
    return column.like(f"%{_escaped(text)}%", escape="/")


def _escaped(text: str) -> str:
    return text.replace("/", "//").replace("%", "/%").replace("_", "/_")
