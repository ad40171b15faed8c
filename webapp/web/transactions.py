"""Reading in the middle of a request that will write, and the clock that all hosts agree on."""

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
    """Look something up without holding SQLite's write lock, for what takes long, such as checking a password.

    What was loaded is stale afterwards: load it again to change it.
    """
    db.session.rollback()
    before = read_only.set(True)
    try:
        yield
    finally:
        db.session.rollback()
        read_only.reset(before)


def write_apart(write: Callable[[sa.Connection], object]) -> None:
    """Write in a transaction of its own: the request may be one that only reads."""
    before = read_only.set(False)
    try:
        with db.engine.begin() as connection:
            write(connection)
    finally:
        read_only.reset(before)


def database_clock() -> datetime:
    """This moment by the database's clock: who is alive, and what is paused, must not depend on a web host's."""
    if is_sqlite(db.engine):
        # SQLite has the clock of the host that asks.
        return now()
    found: datetime = db.session.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
    return found
