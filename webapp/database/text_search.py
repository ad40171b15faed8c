"""Looking for a part of a text in a column, whatever its case, at the least cost of each database.

Folding the case of every row is what such a search takes its time for. For a text of ASCII letters both databases have
a quick way; the rest of the world's letters are folded by PostgreSQL, and taken as they are by SQLite.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

# Bytes up to which LIKE is quicker than strpos(), which skips ahead by what it looks for.
SHORT = 2


def mentions(column: Any, text: str, dialect: str) -> sa.ColumnElement[bool]:
    """Whether a column has the text in it. False or NULL where it has not."""
    pattern = f"%{_escaped(text)}%"
    if dialect == "sqlite":
        # Its LIKE looks past the case of A to Z by itself.
        return _condition(column.like(pattern, escape="/"))
    if text.isascii():
        # In this collation lower() is one look at a table for each letter. A LIKE with ESCAPE would escape its pattern
        # for each row.
        return _condition(sa.func.strpos(sa.func.lower(sa.collate(column, "C")), text.lower()) > 0)
    return _condition(column.ilike(pattern, escape="/"))


def mentions_folded(column: Any, text: str, dialect: str) -> sa.ColumnElement[bool]:
    """The same for a column whose texts were folded by the database's `lower()` when they were written."""
    if dialect == "sqlite":
        return mentions(column, text, dialect)
    # In a query of its own, so that it is folded once: a plan that PostgreSQL keeps would fold it for each row.
    if len(text.encode()) <= SHORT and not set(text).intersection("%_\\"):
        return _condition(column.like(sa.select(sa.func.lower(f"%{text}%")).scalar_subquery()))
    return _condition(sa.func.strpos(column, sa.select(sa.func.lower(text)).scalar_subquery()) > 0)


def _escaped(text: str) -> str:
    return text.replace("/", "//").replace("%", "/%").replace("_", "/_")


def _condition(found: Any) -> sa.ColumnElement[bool]:
    made: sa.ColumnElement[bool] = found
    return made
