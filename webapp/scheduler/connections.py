"""Beat's connections to the database: its own engine, reading without locks, moments on the database's clock."""

from __future__ import annotations

import sqlalchemy as sa

from webapp.database.engine import create_engine, now_sql
from webapp.database.moments import seconds
from webapp.database.reads import reading
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


def database_clock(engine: sa.Engine, clock: Clock) -> tuple[float, float, float]:
    """What the database's clock shows, what the monotonic one showed then, and by how much that may be wrong."""
    with reading(engine) as connection:
        asked = clock.monotonic()
        shown = seconds(connection.exec_driver_sql(f"SELECT {now_sql(connection)}").scalar())
        answered = clock.monotonic()
    return shown or clock.wall(), (asked + answered) / 2, (answered - asked) / 2
