"""Connections to Redis for what a worker tells: one command each, and an answer that need not be waited for.

What redis-py's client does around a command costs more than the command, and to wait for its answer costs both the task
and its worker's main process: each is put to sleep and woken again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import redis

from webapp.run_store.events import STREAM, STREAM_LENGTH, Entry

_APPEND = ("XADD", STREAM, "MAXLEN", "~", STREAM_LENGTH, "*")

# So many answers are left unread; nobody looks when a process has no time for it.
MOST = 64


@dataclass(slots=True, eq=False)
class _Line:
    """A connection. `unanswered` is what was sent last, while nobody has looked whether Redis took it."""

    connection: Any
    unanswered: list[Entry] = field(default_factory=list)


class Lines:
    """Appends to the stream. `refused` is given each entry that was not waited for and may not have arrived.

    A line belongs to whoever has taken it from the idle ones: threads and greenlets never share one.
    """

    def __init__(self, pool: Any, refused: Callable[[Entry], None]) -> None:
        self._pool, self._refused = pool, refused
        self._idle: list[_Line] = []

    def append(self, entry: Entry, *, wait: bool = True) -> None:
        """Append; with `wait`, only Redis' answer is the end of it. Raises redis.RedisError, OSError."""
        line = self._take(fresh=wait)
        try:
            # A look whether the connection is healthy would take an answer to come for its own.
            fields = chain.from_iterable(entry.fields().items())
            line.connection.send_command(*_APPEND, *fields, check_health=not line.unanswered)
            if wait:
                line.connection.read_response()
        except BaseException:
            # Also when the task's time is over just now: its answer must not become that of the next command.
            self._drop(line)
            raise
        if not wait:
            line.unanswered.append(entry)
        self._idle.append(line)

    def look(self) -> None:
        """Read the answers that nobody waited for; waits for those that are not there yet, as long as the pool says."""
        for line in list(self._idle):
            try:
                self._idle.remove(line)
            except ValueError:
                # Somebody appends by it just now.
                continue
            if self._read(line):
                self._idle.append(line)

    def _take(self, *, fresh: bool) -> _Line:
        """A line of one's own; a `fresh` one has no answers to come."""
        while True:
            try:
                line = self._idle.pop()
            except IndexError:
                return _Line(self._pool.get_connection())
            if len(line.unanswered) < (1 if fresh else MOST) or self._read(line):
                return line

    def _read(self, line: _Line) -> bool:
        """Read all answers that are to come; whether the line goes on."""
        try:
            for _ in line.unanswered:
                line.connection.read_response()
        except BaseException as error:
            # Which of them Redis took is not worth knowing: what is appended twice is applied once.
            self._drop(line)
            if isinstance(error, (redis.RedisError, OSError)):
                return False
            raise
        line.unanswered.clear()
        return True

    def _drop(self, line: _Line) -> None:
        for entry in line.unanswered:
            self._refused(entry)
        line.connection.disconnect()
        self._pool.release(line.connection)
