"""Conditions of the list of schedules in the words that each database does best with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql import operators
from sqlalchemy.sql.visitors import iterate

from webapp.database.dialects import Either, Many, one_of


def among(column: sa.Column[int], numbers: Sequence[int]) -> sa.ColumnElement[bool]:
    """Whether it is one of these: one parameter, because thousands of them take longer than the search."""
    return one_of(column, sa.literal(numbers, Many()))


def known(column: sa.Column[Any]) -> sa.ColumnElement[bool]:
    """Whether a column has a value that nearly all have: SQLite, which guesses, must not go by its index for that."""
    unindexed = sa.UnaryExpression(column, operator=operators.custom_op("+"), type_=column.type)
    return Either(on_sqlite=unindexed.is_not(None), on_postgresql=column.is_not(None))


def needs(table: sa.Table, conditions: Sequence[Any]) -> bool:
    """Whether a column of a table must have a value. What stands under an OR or a NOT does not count."""
    return any(
        isinstance(part, sa.BinaryExpression)
        and part.operator is operators.is_not
        and any(isinstance(column, sa.Column) and column.table is table for column in iterate(part.left))
        for one in conditions
        for part in (one.clauses if getattr(one, "operator", None) is operators.and_ else [one])
    )
