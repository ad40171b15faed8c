"""Conditions in the words that each database does best with. No Flask here: beat uses them too."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from webapp.database.engine import array_literal


def one_of(column: Any, numbers: Any, dialect: str) -> sa.ColumnElement[bool]:
    """Whether it is one of these, which `numbers_for` made or a parameter gives: one value, however many they are.

    A parameter for each of fifty takes the database as long to read and to plan as to find them, thousands longer.
    """
    if dialect == "postgresql":
        found: sa.ColumnElement[bool] = column == sa.any_(sa.cast(numbers, ARRAY(sa.Integer)))
        return found
    listed = sa.func.json_each(numbers).table_valued("value")
    within: sa.ColumnElement[bool] = column.in_(sa.select(listed.c.value))
    return within


def numbers_for(numbers: Iterable[int], dialect: str) -> str:
    """What `one_of` takes as its numbers, as a literal or a parameter of type text."""
    return array_literal(numbers) if dialect == "postgresql" else json.dumps(list(numbers))


def contains(column: Any, text: str) -> sa.ColumnElement[bool]:
    """Whether a column has this text in it. SQLite looks past the case of A to Z."""
    # A pattern without ESCAPE, and whole, where it can be: PostgreSQL works out anything else for each row anew.
    if any(special in text for special in "%_/\\"):
        within: sa.ColumnElement[bool] = column.contains(text, autoescape=True)
    else:
        within = column.like(f"%{text}%")
    return within
