"""One open stream: what it has to say, and when."""

from __future__ import annotations

import math
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Any

from webapp.live.pace import Pace

# Seconds after which a stream says again how it stands; an idle connection is kept open by it, and a dead one noticed.
KEEPALIVE_SECONDS = 15.0
# How long the browser waits before it connects anew, in milliseconds.
RETRY_MS = 500


class StreamState(StrEnum):
    """What a page may rely on. The words are the names of the events."""

    # Redis is read: changes are told as they happen.
    LIVE = "live"
    # Redis is away: the page has to look by itself.
    AWAY = "away"
    # The sign-in has ended; nothing more comes.
    ENDED = "ended"


NEWS = "news"


class Stream:
    """Says its standing, then `news` when what it is about has changed, and its standing again every 15 s.

    One thread or greenlet iterates; others call `mark`, `set_state` and `close`. Each event carries as its id the place
    in the stream of changes up to which nothing is untold.
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
        """There is news, to be told at a monotonic time; `interval` is the pace as long as so many watch."""
        self._pace.interval = interval
        self._due = at if self._due is None else min(self._due, at)
        self._woken.set()

    def set_state(self, state: StreamState) -> None:
        """Say at once how it stands now. After `ENDED` nothing more is said."""
        if self._state is not StreamState.ENDED:
            self._state = state
        self._woken.set()

    def close(self) -> None:
        """End without a word: nobody listens any more, or the browser shall connect anew."""
        self._closed = True
        self._woken.set()

    def __iter__(self) -> Iterator[bytes]:
        """The bytes to send, as they become due. Blocks between them."""
        # The first bytes carry the headers along: the browser knows at once that it is connected.
        yield f"retry: {RETRY_MS}\n\n".encode()
        sent_state: StreamState | None = None
        keepalive_at = math.inf
        while not self._closed:
            self._woken.clear()
            now = time.monotonic()
            # Before looking at what is due: everything up to here has been marked.
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
    place = f"id: {position}\n" if position else ""
    return f"{place}event: {name}\ndata:\n\n".encode()
