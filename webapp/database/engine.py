"""The base of all models: one metadata, the types of columns, one way to create an engine.

No Flask here: beat and the recorder use this without an application.
"""

from __future__ import annotations

import json
import random
import re
import sqlite3
import time
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy_celery_beat.session import ModelBase

from beatdesk.encoding import NAME_LENGTH, encodable, shortened
from webapp.database import postgresql

# The library puts its tables into a schema of this name; mapping it to None keeps all tables in the default one.
SCHEMA_MAP: dict[str, str | None] = {"celery_schema": None}


# Whether transactions that begin in this context only read. On SQLite they then never wait for a writer; a write may
# fail if another process wrote meanwhile.
read_only: ContextVar[bool] = ContextVar("read_only", default=False)

# Seconds a write transaction waits in line on SQLite.
SQLITE_LOCK_WAIT = 15.0


class Base(DeclarativeBase):
    """Our models, in the metadata of sqlalchemy-celery-beat, so that Alembic and foreign keys see both."""

    metadata = ModelBase.metadata


class UtcDateTime(sa.TypeDecorator[datetime]):
    """A moment. Takes only aware datetimes, returns them in UTC; SQLite keeps them in UTC without a zone."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Refuse a moment without a zone: a guessed one makes schedules fire at the wrong hour."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a moment needs a time zone: {value!r}")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """The moment in UTC, whatever the session's zone is."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Name(sa.TypeDecorator[str]):
    """The name of a task, queue or worker, which other programs choose; a longer one is cut, and ends in "…"."""

    impl = sa.String(NAME_LENGTH)
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:
        """The shortened name, in conditions too."""
        return None if value is None else shortened(value, NAME_LENGTH)


def now() -> datetime:
    """This moment, aware, in UTC."""
    return datetime.now(UTC)


NOW_SQL = {
    "postgresql": "clock_timestamp()",
    # The form in which SQLAlchemy keeps moments on SQLite, so that they can be compared as text.
    "sqlite": "strftime('%Y-%m-%d %H:%M:%f000', 'now')",
}


def database_now(connection: sa.Connection, later: timedelta = timedelta()) -> sa.ColumnElement[datetime]:
    """The database's clock as an SQL expression, plus `later`, which may be negative.

    For decisions on which machines with different clocks must agree: which processes are alive, which claims expired.
    """
    return sa.literal_column(now_sql(connection, later), UtcDateTime())


def now_sql(connection: sa.Connection, later: timedelta = timedelta()) -> str:
    """The same as text, for a statement that is written as text."""
    return now_text(connection.dialect.name, later)


def now_text(dialect: str, later: timedelta) -> str:
    """The same for the name of a dialect."""
    if not later:
        return NOW_SQL[dialect]
    if dialect == "postgresql":
        return f"{NOW_SQL['postgresql']} + make_interval(secs => {later.total_seconds()!r})"
    return f"strftime('%Y-%m-%d %H:%M:%f000', 'now', '{later.total_seconds()!r} seconds')"


def sqlite_moment(moment: datetime) -> str:
    """An aware moment as SQLAlchemy keeps it on SQLite, for a statement that is written as text."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")


def engine_options(url: str) -> dict[str, Any]:
    """Keyword arguments for `create_engine`, the same in every process.

    Time-outs for a PostgreSQL that does not answer are in `postgresql`. Errors do not contain the values of a
    statement: errors are logged, and arguments of runs can be secret.
    """
    options: dict[str, Any] = {"execution_options": {"schema_translate_map": SCHEMA_MAP}, "hide_parameters": True}
    if url.startswith("postgresql"):
        options |= {
            "pool_timeout": 3,
            "connect_args": {
                "connect_timeout": postgresql.CONNECT_TIMEOUT,
                "options": f"-c timezone=UTC -c statement_timeout={postgresql.STATEMENT_TIMEOUT:.0f}s",
            },
        }
    else:
        # `_begin_writing` waits for the write lock, in a way that lets other greenlets continue.
        options |= {"connect_args": {"timeout": 0}}
    return options


def create_engine(url: str, connect_args: Mapping[str, Any] | None = None) -> sa.Engine:
    """An engine with our options; for processes without Flask.

    `connect_args` go to PostgreSQL's driver; their `options` are added to ours.
    """
    given = engine_options(url)
    more = dict(connect_args or {})
    if "options" in more:
        more["options"] = f"{given['connect_args']['options']} {more['options']}"
    given["connect_args"] = given["connect_args"] | more
    engine = sa.create_engine(url, **given)
    prepare(engine)
    return engine


def prepare(engine: sa.Engine) -> None:
    """Add our event listeners to an engine."""
    sa.event.listen(engine, "before_cursor_execute", _encode_parameters, retval=True)
    if engine.dialect.name == "postgresql":
        postgresql.prepare(engine)
    else:
        _prepare_sqlite(engine)


def _encode_parameters(
    _connection: sa.Connection, _cursor: Any, statement: str, parameters: Any, _context: Any, _executemany: bool
) -> tuple[str, Any]:
    """Escape text that the database cannot hold, in everything that is written or searched for."""
    return statement, encodable_parameters(parameters)


def encodable_parameters(parameters: Any) -> Any:
    """The parameters of a statement, or a list of these, with every text in them encodable."""
    if isinstance(parameters, list):
        return [encodable_parameters(each) for each in parameters]
    if isinstance(parameters, Mapping):
        return {name: _encodable(value) for name, value in parameters.items()}
    return tuple(map(_encodable, parameters)) if parameters else parameters


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return encodable(value)
    return [_encodable(inner) for inner in value] if isinstance(value, list) else value


def is_about_values(error: Exception) -> bool:
    """Whether a statement failed for the values that it was given, rather than for the database or its connection."""
    if not isinstance(error, sa.exc.SQLAlchemyError):
        return not isinstance(error, (OSError, MemoryError))
    if not isinstance(error, sa.exc.DBAPIError):
        return isinstance(error, sa.exc.StatementError)
    if error.connection_invalidated:
        return False
    if state := getattr(error.orig, "sqlstate", None):
        # Data, constraints, and limits of the server, such as the size of a row in an index.
        return state[:2] in ("22", "23", "54")
    return isinstance(error, (sa.exc.DataError, sa.exc.IntegrityError)) or "binding parameter" in str(error.orig)


def _prepare_sqlite(engine: sa.Engine) -> None:
    """Prepare SQLite for several processes: WAL, enforced foreign keys, and write transactions that wait for the lock.

    The driver's own handling begins a transaction as a reader and upgrades it at the first write, which fails at once
    with "database is locked" when another process wrote meanwhile. We begin explicitly instead: as a writer, unless
    `read_only` is set in this context.
    """

    @sa.event.listens_for(engine, "connect")
    def on_connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        for pragma in (
            "busy_timeout=5000",
            "journal_mode=WAL",
            "synchronous=NORMAL",
            "foreign_keys=ON",
            "busy_timeout=0",
        ):
            connection.execute(f"PRAGMA {pragma}").close()

    @sa.event.listens_for(engine, "begin")
    def on_begin(connection: sa.Connection) -> None:
        if read_only.get():
            connection.exec_driver_sql("BEGIN")
        else:
            _begin_writing(connection)


def _begin_writing(connection: sa.Connection) -> None:
    """Take SQLite's write lock, or raise OperationalError after SQLITE_LOCK_WAIT seconds.

    It waits in Python and not in SQLite: under gevent the lock may belong to another greenlet of this thread, which
    SQLite's own wait would block.
    """
    give_up = time.monotonic() + SQLITE_LOCK_WAIT
    while True:
        try:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        except sa.exc.OperationalError as error:
            if "locked" not in str(error.orig) or time.monotonic() > give_up:
                raise
            time.sleep(random.uniform(0.001, 0.01))
        else:
            return


def first_row(engine: sa.Engine, statement: str, given: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """The first row of a statement in the driver's own form, in a transaction of its own, without SQLAlchemy.

    None if there is no row, and after any error: the caller then repeats it by SQLAlchemy, which waits for SQLite's
    lock, replaces a lost connection, and raises errors.
    """
    given = encodable_parameters(given)
    if engine.dialect.name == "postgresql":
        return postgresql.first_row(engine, statement, given)
    connection = engine.raw_connection()
    try:
        # All rows, which ends the transaction.
        rows = connection.cursor().execute(statement, given).fetchall()
    except sqlite3.Error:
        return None
    finally:
        connection.close()
    return rows[0] if rows else None


def array_literal(values: Iterable[str | int | datetime | None]) -> str:
    """An array as PostgreSQL's text, for a parameter that the statement casts; ten times faster than the driver's own.

    JSON has the same quotes and escapes, except for control characters, which PostgreSQL takes unescaped. A moment must
    be aware.
    """
    given = list(map(_encodable, values))
    text = json.dumps(given, ensure_ascii=False, separators=(",", ":"), default=datetime.isoformat)
    if _ESCAPED_CONTROL.search(text):
        text = _ESCAPED_CONTROL.sub(_unescaped, text)
    return f"{{{text[1:-1]}}}"


# Two backslashes are one of the text, and do not begin an escape.
_ESCAPED_CONTROL = re.compile(r"\\\\|\\(?:[bfnrt]|u00[01][0-9a-f])")


def _unescaped(found: re.Match[str]) -> str:
    escape = found.group()
    return escape if escape == r"\\" else str(json.loads(f'"{escape}"'))
