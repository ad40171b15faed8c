"""Transactions within a request beside its own, and the database's clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

import sqlalchemy as sa

from webapp.database.dialects import is_sqlite
from webapp.database.engine import now, read_only
from webapp.extensions import db


@contextmanager
def reading() -> Iterator[None]:
    """A context for slow reads, such as checking a password, that does not hold SQLite's write lock.

    Rows loaded before or in it are stale afterwards: load them again to change them.
    """
    db.session.rollback()
    before = read_only.set(True)
    try:
        yield
    finally:
        db.session.rollback()
        read_only.reset(before)


def write_apart(write: Callable[[sa.Connection], object]) -> None:
    """Write in a transaction of its own, in requests that otherwise only read too."""
    before = read_only.set(False)
    try:
        with db.engine.begin() as connection:
            write(connection)
    finally:
        read_only.reset(before)


def database_clock() -> datetime:
    """The current time by the database's clock: heartbeats and pauses must not depend on a web host's clock."""
    if is_sqlite(db.engine):
        # SQLite uses the clock of this host.
        return now()
    found: datetime = db.session.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
    return found
