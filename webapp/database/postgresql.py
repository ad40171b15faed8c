"""Connections to PostgreSQL with client-side time-outs: a server that hangs counts as away.

A server that is stopped or overloaded keeps its connections open and does not answer. Neither its own time limits nor
the kernel's help then; only the client can give up.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

import psycopg
import sqlalchemy as sa

# Seconds for the ping before each use of a connection.
PING_TIMEOUT = 1.0
# Seconds for a new connection, the minimum of psycopg.
CONNECT_TIMEOUT = 2
# Seconds after which the server cancels a statement, and after which the client gives up a server that did not.
STATEMENT_TIMEOUT = 30.0
ANSWER_TIMEOUT = STATEMENT_TIMEOUT + 5.0


# For so many seconds after an answer connections are not pinged in this context; with 0 they are before each use. For
# code to which the cost of a ping matters more than a longer wait: without it, a server that hangs is noticed only
# after `ANSWER_TIMEOUT`.
trusted_for: ContextVar[float] = ContextVar("trusted_for", default=0.0)


class Connection(psycopg.Connection[Any]):
    """A connection that waits at most `patience` seconds for an answer. `answered_at` is a monotonic time."""

    patience = ANSWER_TIMEOUT
    answered_at = float("-inf")

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """As psycopg's. Raises OperationalError, and closes the connection, if the server does not answer in time."""
        try:
            return super().wait(gen, interval, self.patience if timeout is None else timeout)
        except psycopg.errors._WaitTimeout as error:  # noqa: SLF001  # it has no public name
            self.pgconn.finish()
            raise psycopg.OperationalError("the server does not answer") from error


def prepare(engine: sa.Engine) -> None:
    """Have an engine use such connections, and ping the server before each use."""

    @sa.event.listens_for(engine, "do_connect")
    def connect(_dialect: Any, _record: Any, args: Any, parameters: Any) -> Connection:
        return Connection.connect(*args, **parameters)

    @sa.event.listens_for(engine, "checkout")
    def ping(connection: Any, _record: Any, _proxy: Any) -> None:
        if time.monotonic() - connection.answered_at < trusted_for.get():
            return
        connection.patience = PING_TIMEOUT
        try:
            # Without a transaction, which would cost two more round trips.
            connection.autocommit = True
            connection.execute("SELECT 1")
            connection.autocommit = False
        except psycopg.Error as error:
            # The other connections are as old.
            raise sa.exc.InvalidatePoolError from error
        connection.patience = ANSWER_TIMEOUT
        connection.answered_at = time.monotonic()


def first_row(engine: sa.Engine, statement: str, given: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """See `webapp.database.engine.first_row`."""
    # Many claims a second need no ping each.
    token = trusted_for.set(1.0)
    try:
        connection = engine.raw_connection()
    finally:
        trusted_for.reset(token)
    driver: Any = connection.driver_connection
    try:
        # A transaction around it would cost two more round trips.
        driver.autocommit = True
        row: tuple[Any, ...] | None = driver.execute(statement, given).fetchone()
        driver.autocommit = False
        driver.answered_at = time.monotonic()
    except BaseException as error:
        # Also at the time limit of a task: an answer may still come, and each statement commits by itself.
        connection.invalidate(error)
        if isinstance(error, psycopg.Error):
            return None
        raise
    connection.close()
    return row
