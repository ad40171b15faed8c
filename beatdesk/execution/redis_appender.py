"""Appends entries to the stream over connections of its own, without waiting for each answer.

What redis-py's client does around a command costs more than the command, and to wait for its answer costs both the task
and its worker's main process: each is put to sleep and woken again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import redis

from beatdesk.execution.events import STREAM, STREAM_LENGTH, Entry

_APPEND = ("XADD", STREAM, "MAXLEN", "~", STREAM_LENGTH, "*")


def commands_of(entry: Entry) -> list[tuple[Any, ...]]:
    """The commands that append an entry, and what belongs to it."""
    append = (*_APPEND, *chain.from_iterable(entry.fields().items()))
    return [append, entry.also] if entry.also else [append]


# Answers that one connection leaves unread, where no flush comes in between.
MAX_UNREAD = 64


def take_connection(pool: Any) -> Any:
    """A connection of a pool of redis-py, whose versions before 5.3 ask for the name of a command."""
    try:
        return pool.get_connection()
    except TypeError:
        return pool.get_connection("_")


@dataclass(slots=True, eq=False)
class _Connection:
    """A connection of redis-py. `unanswered` has an entry, or None, for each command whose answer is not read yet."""

    raw: Any
    unanswered: list[Entry | None] = field(default_factory=list)


class RedisAppender:
    """Appends to the stream. `refused` is called with each entry that was not waited for and may not have arrived.

    A connection is in use by one thread or greenlet at a time: it is taken from the idle ones and put back.
    """

    def __init__(self, pool: Any, refused: Callable[[Entry], None]) -> None:
        self.pool, self._refused = pool, refused
        self._idle: list[_Connection] = []

    def append(self, entry: Entry, *, wait: bool = True) -> None:
        """Append; with `wait`, return only once Redis has answered. Raises redis.RedisError, OSError."""
        connection = self._take(fresh=wait)
        try:
            commands = connection.raw.pack_commands(commands_of(entry))
            # A health check would take a pending answer for its own.
            connection.raw.send_packed_command(commands, check_health=not connection.unanswered)
            for _ in range(1 + bool(entry.also)) if wait else ():
                connection.raw.read_response()
        except BaseException:
            # Also when the task's time is over just now: its answer must not become that of the next command.
            self._drop(connection)
            raise
        if not wait:
            connection.unanswered += [entry, None] if entry.also else [entry]
        self._idle.append(connection)

    def read_answers(self) -> None:
        """Read the answers that were not waited for; waits for each as long as the pool's time-out."""
        for connection in list(self._idle):
            try:
                self._idle.remove(connection)
            except ValueError:
                # Another thread appends by it just now.
                continue
            if self._read(connection):
                self._idle.append(connection)

    def _take(self, *, fresh: bool) -> _Connection:
        """An idle connection, or a new one; a `fresh` one has no answers to come."""
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return _Connection(take_connection(self.pool))
            if len(connection.unanswered) < (1 if fresh else MAX_UNREAD) or self._read(connection):
                return connection

    def _read(self, connection: _Connection) -> bool:
        """Read all answers that are to come; whether the connection goes on."""
        try:
            for _ in connection.unanswered:
                connection.raw.read_response()
        except BaseException as error:
            # Which of them Redis took is not worth knowing: what is appended twice is applied once.
            self._drop(connection)
            if isinstance(error, (redis.RedisError, OSError)):
                return False
            raise
        connection.unanswered.clear()
        return True

    def _drop(self, connection: _Connection) -> None:
        for entry in connection.unanswered:
            if entry is not None:
                self._refused(entry)
        connection.raw.disconnect()
        self.pool.release(connection.raw)
