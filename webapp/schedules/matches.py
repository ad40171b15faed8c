"""Conditions of the list of schedules in the words that each database does best with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.sql import operators
from sqlalchemy.sql.visitors import iterate

from webapp.database import array_literal
from webapp.extensions import db


def among(column: sa.Column[int], numbers: Sequence[int]) -> sa.ColumnElement[bool]:
    """Whether it is one of these: one parameter, because thousands of them take longer than the search."""
    if db.engine.dialect.name == "postgresql":
        return column == sa.any_(sa.cast(sa.literal(array_literal(numbers), sa.Text), ARRAY(sa.Integer)))
    listed = sa.func.json_each(json.dumps(list(numbers))).table_valued("value")
    return column.in_(sa.select(listed.c.value))


def known(column: sa.Column[Any]) -> sa.ColumnElement[bool]:
    """Whether a column has a value that nearly all have: SQLite, which guesses, must not go by its index for that."""
    if db.engine.dialect.name == "sqlite":
        return sa.UnaryExpression(column, operator=operators.custom_op("+"), type_=column.type).is_not(None)
    return column.is_not(None)


def needs(table: sa.Table, conditions: Sequence[Any]) -> bool:
    """Whether a column of a table must have a value. Asked of conditions that say so under no OR and no NOT."""
    return any(
        isinstance(part, sa.BinaryExpression)
        and part.operator is operators.is_not
        and any(isinstance(column, sa.Column) and column.table is table for column in iterate(part.left))
        for one in conditions
        for part in iterate(one)
    )
