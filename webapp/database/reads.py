"""Reading outside of requests: without SQLite's write lock, and without a transaction on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from webapp.database.engine import read_only


@contextmanager
def reading(engine: sa.Engine, *, streaming: bool = False) -> Iterator[sa.Connection]:
    """A connection for reading only.

    It takes no write lock on SQLite, and no transaction on PostgreSQL, except for streaming, which needs one.
    """
    token = read_only.set(True)
    try:
        with engine.connect() as connection:
            if engine.dialect.name == "postgresql":
                if streaming:
                    # It holds no locks, and a busy machine may take long between two parts.
                    connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 60000")
                else:
                    connection.execution_options(isolation_level="AUTOCOMMIT")
            yield connection
    finally:
        read_only.reset(token)
