"""Reading in the middle of a request that will write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from webapp.database import read_only
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
