"""The differences between statements for PostgreSQL and for SQLite: with `engine`, the only place that has them.

Expressions choose a form when they are compiled, so that queries need not know the database; statements written as text
choose it when they are executed. No Flask here: beat uses them too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from webapp.database import engine
from webapp.database.engine import array_literal, encodable_parameters, sqlite_moment

# The types of the columns of a batch, in PostgreSQL's words.
TEXT, NUMBER, LARGE_NUMBER, FRACTION, MOMENT = "text", "int", "bigint", "float8", "timestamptz"

Bound = sa.Connection | sa.Engine


def is_sqlite(bound: Bound) -> bool:
    """For the few modules whose statements differ as a whole; `tests/test_shape.py` lists them."""
    return bound.dialect.name == "sqlite"


class Either(FunctionElement[Any]):
    """An expression with a form for each database, in parentheses."""

    inherit_cache = True

    def __init__(self, *, on_sqlite: Any, on_postgresql: Any) -> None:
        super().__init__(on_sqlite, on_postgresql)
        self.type = on_postgresql.type

    def self_group(self, against: Any = None) -> Any:
        """The element itself: otherwise SQLite would compare a condition with 1, and use no index."""
        return self


@compiles(Either, "sqlite")
def _on_sqlite(element: Either, compiler: Any, **more: Any) -> str:
    return f"({compiler.process(next(iter(element.clauses)), **more)})"


@compiles(Either, "postgresql")
def _on_postgresql(element: Either, compiler: Any, **more: Any) -> str:
    return f"({compiler.process(list(element.clauses)[1], **more)})"


class Many(sa.TypeDecorator[Sequence[Any]]):
    """A list of numbers or texts as one parameter, for `one_of`."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: Sequence[Any] | None, dialect: sa.Dialect) -> str:
        """The text of an array, or JSON."""
        given = list(value or ())
        return array_literal(given) if dialect.name == "postgresql" else json.dumps(encodable_parameters(tuple(given)))


def many(values: Iterable[Any]) -> sa.BindParameter[Any]:
    """A parameter for `one_of`, with its values."""
    return sa.bindparam(None, list(values), type_=Many())


def one_of(column: Any, given: sa.BindParameter[Any]) -> sa.ColumnElement[bool]:
    """Whether a column is in a list, a parameter of the type Many.

    With a parameter for each value, parsing and planning take as long as finding fifty rows, and longer for thousands.
    """
    listed = sa.func.json_each(given).table_valued("value")
    array = sa.cast(given, postgresql.ARRAY(column.type))
    return Either(on_sqlite=column.in_(sa.select(listed.c.value)), on_postgresql=column == sa.any_(array))


def seconds_between(start: Any, end: Any) -> sa.ColumnElement[float]:
    """The seconds from one moment to another."""
    days = sa.func.julianday(end) - sa.func.julianday(start)
    return Either(on_sqlite=days * 86400.0, on_postgresql=sa.func.extract("epoch", end - start))


def minute_of(moment: Any) -> sa.ColumnElement[str]:
    """A moment in UTC to the minute, as text."""
    text = sa.func.substr(sa.type_coerce(moment, sa.Text), 1, len("2027-10-31 02:30"))
    utc = sa.func.to_char(sa.func.timezone("UTC", moment), "YYYY-MM-DD HH24:MI", type_=sa.Text)
    return Either(on_sqlite=text, on_postgresql=utc)


def tail(text: Any, length: int) -> sa.ColumnElement[str]:
    """The last characters of a text."""
    last = sa.func.right(text, length, type_=sa.Text)
    return Either(on_sqlite=sa.func.substr(text, -length), on_postgresql=last)


def insert(bound: Bound, table: Any) -> Any:
    """An INSERT that can have an ON CONFLICT clause, which is not standard SQL."""
    return sqlite.insert(table) if is_sqlite(bound) else postgresql.insert(table)


def along(bound: Bound, table: str, index: str) -> str:
    """A table in a FROM clause that is read along an index; SQLite has no statistics and needs a hint."""
    return f"{table} INDEXED BY {index}" if is_sqlite(bound) else table


def lock(connection: sa.Connection, number: int) -> None:
    """Take an advisory lock for the transaction. SQLite has only one writer anyway."""
    if not is_sqlite(connection):
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(number)))


class DriverStatement:
    """A statement in the drivers' own form, executed without SQLAlchemy by `engine.first_row`.

    For the claim: SQLAlchemy takes a worker several times as long as the statement. `{name}` stands for a parameter,
    `{now}` for the database's clock, `{ago}` for the moment `ago` before it.
    """

    def __init__(self, text: str, names: Sequence[str], ago: timedelta) -> None:
        self._texts = {
            dialect: text.format(
                **{name: mark.format(name) for name in names},
                now=engine.now_text(dialect, timedelta()),
                ago=engine.now_text(dialect, -ago),
            )
            for dialect, mark in (("postgresql", "%({})s"), ("sqlite", ":{}"))
        }

    def first_row(self, bound: sa.Engine, given: Mapping[str, Any]) -> tuple[Any, ...] | None:
        """See `engine.first_row`."""
        return engine.first_row(bound, self._texts[bound.dialect.name], _raw(bound, given))

    def scalar(self, connection: sa.Connection, given: Mapping[str, Any]) -> Any:
        """The first value of the first row, in a transaction of SQLAlchemy's."""
        text = self._texts[connection.dialect.name]
        return connection.exec_driver_sql(text, dict(_raw(connection, given))).scalar()


def _raw(bound: Bound, given: Mapping[str, Any]) -> Mapping[str, Any]:
    if not is_sqlite(bound):
        return given
    return {name: sqlite_moment(value) if isinstance(value, datetime) else value for name, value in given.items()}


class BatchStatement:
    """A statement over many rows, which `{batch}` in its text makes available as the table `told` with these columns.

    The rows are one parameter (SQLite) or one for each column: a statement for each row, even prepared, costs both the
    program and PostgreSQL more than the change itself. `{now}` is the database's clock. The first column has the ids of
    the rows to change. `{unlocked}` is a condition that leaves out rows of the table `locking` that another transaction
    has locked.
    """

    def __init__(self, columns: Mapping[str, str], text: str, locking: str = "") -> None:
        self.columns = columns
        # Built from constants of this program; the values are parameters.
        arrays = ", ".join(f"CAST(:{name} AS {kind}[])" for name, kind in columns.items())
        fields = ", ".join(f"value ->> {place} AS {name}" for place, name in enumerate(columns))
        chosen = f"id = ANY(CAST(:{next(iter(columns))} AS int[]))"
        free = f"{locking}.id IN (SELECT id FROM {locking} WHERE {chosen} FOR UPDATE SKIP LOCKED)"  # noqa: S608
        words = {
            "postgresql": (f"unnest({arrays}) AS told({', '.join(columns)})", free),
            "sqlite": (f"(SELECT {fields} FROM json_each(:rows)) AS told", "true"),  # noqa: S608
        }
        self._statements = {
            dialect: sa.text(text.format(batch=batch, unlocked=unlocked, now=engine.NOW_SQL[dialect]))
            for dialect, (batch, unlocked) in words.items()
        }

    def execute(self, connection: sa.Connection, rows: Iterable[tuple[Any, ...]]) -> list[Any]:
        """Execute it for rows with the values of the columns in their order, moments aware. Gives the ids it returns.

        Commits nothing.
        """
        # In order, so that two transactions with overlapping rows wait for each other instead of deadlocking.
        ordered = sorted(rows, key=itemgetter(0))
        if not ordered:
            return []
        if is_sqlite(connection):
            # Escaped before they become JSON text, in which the same escapes would be JSON's own.
            encoded = list(map(encodable_parameters, ordered))
            given = {"rows": json.dumps(encoded, ensure_ascii=False, separators=(",", ":"), default=sqlite_moment)}
        else:
            given = dict(zip(self.columns, map(array_literal, zip(*ordered, strict=True)), strict=True))
        result = connection.execute(self._statements[connection.dialect.name], given)
        return list(result.scalars()) if result.returns_rows else []
