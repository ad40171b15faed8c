"""One open stream of Server-Sent Events: which events it sends, and when."""

from __future__ import annotations

import math
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Any

from webapp.live.pace import Pace

# How often a stream repeats its state, which keeps an idle connection open and detects a dead one.
KEEPALIVE_SECONDS = 15.0
# How long the browser waits before it reconnects, in milliseconds.
RETRY_MS = 500


class StreamState(StrEnum):
    """The state of live updates. The values are the names of the events."""

    # Redis is read, and changes are pushed.
    LIVE = "live"
    # Redis is away: the page has to poll.
    AWAY = "away"
    # The sign-in has ended; no event follows.
    ENDED = "ended"


NEWS = "news"


class Stream:
    """Sends its state, then `news` whenever its topic has changed, and its state again every 15 s.

    One thread or greenlet iterates; others call `mark`, `set_state` and `close`. The id of each event is the position
    in the stream of changes up to which the browser has been notified.
    """

    def __init__(self, topic: str, person: int, sign_in: str, connection: Any, position: Callable[[], str]) -> None:
        self.id = secrets.token_hex(8)
        self.topic = topic
        self.person = person
        self.sign_in = sign_in
        self.connection = connection
        self._position = position
        self._woken = threading.Event()
        self._state: StreamState | None = None
        self._closed = False
        self._due: float | None = None
        self._pace = Pace(time.monotonic())

    def mark(self, at: float, interval: float) -> None:
        """Send `news` at a monotonic time; `interval` is the pace for the current number of watchers."""
        self._pace.interval = interval
        self._due = at if self._due is None else min(self._due, at)
        self._woken.set()

    def set_state(self, state: StreamState) -> None:
        """Send a state at once. After `ENDED` nothing follows."""
        if self._state is not StreamState.ENDED:
            self._state = state
        self._woken.set()

    def close(self) -> None:
        """End without an event: the browser has left, or has to reconnect."""
        self._closed = True
        self._woken.set()

    def __iter__(self) -> Iterator[bytes]:
        """The bytes to send, as they become due. Blocks between them."""
        # The first bytes send the headers along, so that the browser is connected at once.
        yield f"retry: {RETRY_MS}\n\n".encode()
        sent_state: StreamState | None = None
        keepalive_at = math.inf
        while not self._closed:
            self._woken.clear()
            now = time.monotonic()
            # Read before `_due`: all changes up to this position have been marked.
            position = self._position()
            state = self._state
            if state is not None and (state is not sent_state or now >= keepalive_at):
                sent_state, keepalive_at = state, now + KEEPALIVE_SECONDS
                yield _event(sent_state, position if self._due is None else "")
                if sent_state is StreamState.ENDED:
                    return
            due = math.inf if self._due is None else max(self._due, self._pace.ready_at(now))
            if due <= now:
                self._due = None
                self._pace.take(now)
                yield _event(NEWS, position)
            else:
                until = min(due, keepalive_at)
                self._woken.wait(None if until == math.inf else until - now)


def _event(name: str, position: str) -> bytes:
    entry_id = f"id: {position}\n" if position else ""
    return f"{entry_id}event: {name}\ndata:\n\n".encode()
