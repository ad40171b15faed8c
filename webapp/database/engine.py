"""What all models share: one metadata, one way to keep moments, one way to open an engine.

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

from webapp.database import postgresql
from webapp.encoding import NAME_LENGTH, encodable, shortened

# The library puts its tables into a schema of this name; mapping it to None keeps all tables in the default one.
SCHEMA_MAP: dict[str, str | None] = {"celery_schema": None}


# Whether transactions that begin in this context only read. On SQLite they then never wait for a writer; a write in
# one may fail when another process wrote meanwhile.
read_only: ContextVar[bool] = ContextVar("read_only", default=False)

# Seconds a write transaction waits in line on SQLite.
SQLITE_LOCK_WAIT = 15.0


class Base(DeclarativeBase):
    """Our models, in the metadata of sqlalchemy-celery-beat, so that Alembic and foreign keys see both."""

    metadata = ModelBase.metadata


class UtcDateTime(sa.TypeDecorator[datetime]):
    """A moment. Takes aware datetimes only, gives aware UTC ones; SQLite keeps them as UTC without a zone."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Refuse a moment without a zone: guessing one is how schedules fire at the wrong hour."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a moment needs a time zone: {value!r}")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Hand out UTC, whatever the session's zone is."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Name(sa.TypeDecorator[str]):
    """A name that other programs give, of a task, a queue or a worker; one that is too long is cut, and ends in "…"."""

    impl = sa.String(NAME_LENGTH)
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:
        """Cut it, also where it is looked for."""
        return None if value is None else shortened(value, NAME_LENGTH)


def now() -> datetime:
    """This moment, aware, in UTC."""
    return datetime.now(UTC)


NOW_SQL = {
    "postgresql": "clock_timestamp()",
    # The form in which SQLAlchemy keeps moments on SQLite, so that they compare as text.
    "sqlite": "strftime('%Y-%m-%d %H:%M:%f000', 'now')",
}


def database_now(connection: sa.Connection, later: timedelta = timedelta()) -> sa.ColumnElement[datetime]:
    """The database's clock as an SQL expression, or a moment so much later (earlier, when it is negative).

    For what processes on machines with different clocks must agree on: who is alive, and whose claim has run out.
    """
    return sa.literal_column(now_sql(connection, later), UtcDateTime())


def now_sql(connection: sa.Connection, later: timedelta = timedelta()) -> str:
    """The same as text, for a statement that is written as text."""
    return now_text(connection.dialect.name, later)


def now_text(dialect: str, later: timedelta) -> str:
    """The same by the name of the database."""
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

    What gives up a PostgreSQL that does not answer, after 3 s rather than never, is in `postgresql`. Errors do not tell
    the values of a statement: they are logged, and arguments of runs can be secret.
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
        # Waiting for the write lock is done in `_begin_writing`, where other greenlets can go on meanwhile.
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
    """What an engine of ours does besides its options."""
    sa.event.listen(engine, "before_cursor_execute", _encode_parameters, retval=True)
    if engine.dialect.name == "postgresql":
        postgresql.prepare(engine)
    else:
        _prepare_sqlite(engine)


def _encode_parameters(
    _connection: sa.Connection, _cursor: Any, statement: str, parameters: Any, _context: Any, _executemany: bool
) -> tuple[str, Any]:
    """Whatever is written or looked for is text that the database can hold."""
    return statement, encodable_parameters(parameters)


def encodable_parameters(parameters: Any) -> Any:
    """The parameters of a statement, or a list of such, with every text in them encodable; mostly they are."""
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
        # Data, constraints, and what is beyond a limit of the server's, such as the size of a row in an index.
        return state[:2] in ("22", "23", "54")
    return isinstance(error, (sa.exc.DataError, sa.exc.IntegrityError)) or "binding parameter" in str(error.orig)


def _prepare_sqlite(engine: sa.Engine) -> None:
    """Make SQLite fit for several processes: WAL, enforced foreign keys, and write transactions that wait in line.

    The driver's own handling begins a transaction as a reader and upgrades it at the first write, which fails at once
    with "database is locked" when another process wrote meanwhile. We begin explicitly instead: as a writer, waiting in
    line, unless `read_only` is set in this context.
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

    The wait sleeps in Python and not in SQLite: under gevent the holder of the lock may be another greenlet of this
    very thread, which SQLite's own wait would keep from ever finishing.
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
    """The first row of a statement in the driver's own text, in a transaction of its own, past SQLAlchemy.

    None when there is no row, and when anything failed: whoever asks again by SQLAlchemy waits in line for SQLite's
    lock, gets another connection for one that was lost, and its errors.
    """
    given = encodable_parameters(given)
    if engine.dialect.name == "postgresql":
        return postgresql.first_row(engine, statement, given)
    connection = engine.raw_connection()
    try:
        # To the end, which ends its transaction.
        rows = connection.cursor().execute(statement, given).fetchall()
    except sqlite3.Error:
        return None
    finally:
        connection.close()
    return rows[0] if rows else None


def array_literal(values: Iterable[str | int | datetime | None]) -> str:
    """PostgreSQL's text of an array, for a parameter that the statement casts; the driver makes it ten times slower.

    JSON has the same quotes and escapes, but for control characters, which PostgreSQL takes as they are. A moment must
    be aware.
    """
    given = list(map(_encodable, values))
    text = json.dumps(given, ensure_ascii=False, separators=(",", ":"), default=datetime.isoformat)
    if _ESCAPED_CONTROL.search(text):
        text = _ESCAPED_CONTROL.sub(_unescaped, text)
    return f"{{{text[1:-1]}}}"


# A pair of backslashes is one of the text, and what follows it is no escape.
_ESCAPED_CONTROL = re.compile(r"\\\\|\\(?:[bfnrt]|u00[01][0-9a-f])")


def _unescaped(found: re.Match[str]) -> str:
    escape = found.group()
    return escape if escape == r"\\" else str(json.loads(f'"{escape}"'))
