"""Connections to PostgreSQL that do not wait for ever: a server that hangs is one that is away.

A server that is stopped or overloaded keeps its connections and answers nothing. Neither its own time limits nor the
kernel's help then; only the client can give up.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

import psycopg
import sqlalchemy as sa

# Seconds for the question, before each use of a connection, whether the server is there.
PING_TIMEOUT = 1.0
# Seconds for a new connection; psycopg takes nothing shorter.
CONNECT_TIMEOUT = 2
# Seconds that the server allows a statement, and after which the client gives up a server that does not keep to it.
STATEMENT_TIMEOUT = 30.0
ANSWER_TIMEOUT = STATEMENT_TIMEOUT + 5.0


# For so many seconds after an answer a server is taken to be there still, in this context; 0 where it is asked before
# each use. For whom an error, or a longer wait, matters less than the question: a server that hangs just now is waited
# for as long as one that takes long for a statement.
trusted_for: ContextVar[float] = ContextVar("trusted_for", default=0.0)


class Connection(psycopg.Connection[Any]):
    """A connection on which no answer is awaited longer than `patience` seconds. `answered_at` is a monotonic time."""

    patience = ANSWER_TIMEOUT
    answered_at = float("-inf")

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """As psycopg's. Raises OperationalError, with the connection closed, when the server says nothing."""
        try:
            return super().wait(gen, interval, self.patience if timeout is None else timeout)
        except psycopg.errors._WaitTimeout as error:  # noqa: SLF001  # it has no public name
            self.pgconn.finish()
            raise psycopg.OperationalError("the server does not answer") from error


def prepare(engine: sa.Engine) -> None:
    """Have an engine use such connections, and ask before each use whether the server is there."""

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
            # The others are as old as this one.
            raise sa.exc.InvalidatePoolError from error
        connection.patience = ANSWER_TIMEOUT
        connection.answered_at = time.monotonic()


def first_row(engine: sa.Engine, statement: str, given: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """See `webapp.database.engine.first_row`."""
    # Who claims many a second need not ask each time.
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
        # Also when the task's time is over just now: an answer may still come, and each statement commits by itself.
        connection.invalidate(error)
        if isinstance(error, psycopg.Error):
            return None
        raise
    connection.close()
    return row
