"""How beat talks to the database: its own engine, reading without locks, moments on the database's clock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import sqlalchemy as sa

from webapp.database.engine import NOW_SQL, create_engine, read_only, sqlite_moment
from webapp.recurrence.zones import from_microseconds
from webapp.scheduler.clock import Clock

# A leader that is stopped in the middle of a transaction must not hold the lease's row or its schedules' rows: the
# server ends such a transaction, and the next leader goes on. A lock that an editor holds for long delays one batch
# only.
SESSION_OPTIONS = "-c idle_in_transaction_session_timeout=1500 -c lock_timeout=3000"
# A server that vanished without a word is noticed after this many seconds, both for what was sent and while waiting.
NETWORK_OPTIONS = {
    "tcp_user_timeout": 5000,
    "keepalives_idle": 3,
    "keepalives_interval": 1,
    "keepalives_count": 3,
}


def open_engine(url: str) -> sa.Engine:
    """An engine for a beat process. Opens no connection yet."""
    return create_engine(url, NETWORK_OPTIONS | {"options": SESSION_OPTIONS} if url.startswith("postgresql") else None)


@contextmanager
def reading(engine: sa.Engine, *, streaming: bool = False) -> Iterator[sa.Connection]:
    """A connection for looking only.

    It takes no write lock on SQLite, and on PostgreSQL no transaction, unless for streaming, which needs one.
    """
    token = read_only.set(True)
    try:
        with engine.connect() as connection:
            if engine.dialect.name == "postgresql":
                if streaming:
                    # It holds no lock that anybody waits for, and a busy machine may take long between two parts.
                    connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 60000")
                else:
                    connection.execution_options(isolation_level="AUTOCOMMIT")
            yield connection
    finally:
        read_only.reset(token)


def database_clock(engine: sa.Engine, clock: Clock) -> tuple[float, float, float]:
    """What the database's clock shows, what the monotonic one showed then, and by how much that may be wrong."""
    with reading(engine) as connection:
        asked = clock.monotonic()
        shown = seconds(connection.exec_driver_sql(f"SELECT {now_sql(connection)}").scalar())
        answered = clock.monotonic()
    return shown or clock.wall(), (asked + answered) / 2, (answered - asked) / 2


def now_sql(connection: sa.Connection) -> str:
    """The database's clock in its SQL, as a moment that compares with stored ones."""
    return NOW_SQL[connection.dialect.name]


def moment(epoch: float) -> datetime:
    """Epoch seconds as an aware datetime in UTC, to the microsecond."""
    return from_microseconds(round(epoch * 1_000_000))


def seconds(value: datetime | str | None) -> float | None:
    """A stored moment, as either driver gives it out raw, in epoch seconds."""
    if value is None:
        return None
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if value.tzinfo is None:
        value = value.replace(tzinfo=UTC)
    # Exact to the microsecond: for an aware moment this divides whole microseconds once.
    return value.timestamp()


def raw_moment(connection: sa.Connection, epoch: float | None) -> datetime | str | None:
    """Epoch seconds as the driver takes them in textual SQL."""
    if epoch is None:
        return None
    value = moment(epoch)
    return sqlite_moment(value) if connection.dialect.name == "sqlite" else value
