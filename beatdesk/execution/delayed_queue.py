"""A queue of stream entries that a background thread flushes every 40 ms; an entry can be withdrawn until then."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from beatdesk.execution.events import Entry

logger = logging.getLogger(__name__)

# How long an entry waits.
FLUSH_SECONDS = 0.04
# After so long without entries the thread sleeps until there is one.
QUIET_SECONDS = 1.0

# Makes an entry when it is due; None when there is nothing to emit any more.
Make = Callable[[], Entry | None]


class DelayedQueue:
    """Entries by key, handed to `send` together once they have waited; a thread of its own does it."""

    def __init__(
        self, send: Callable[[list[Entry]], None], delay: float = FLUSH_SECONDS, quiet: float = QUIET_SECONDS
    ) -> None:
        self._send = send
        self._delay, self._quiet = delay, quiet
        self._made: dict[Any, Make] = {}
        self._pending = threading.Event()
        self._flushing = threading.Lock()
        self._thread: threading.Thread | None = None

    def put(self, key: Any, make: Make) -> None:
        """Add the entry that `make` gives once it is due, if it gives one."""
        self._made[key] = make
        if not self._pending.is_set():
            self._pending.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="emitter", daemon=True)
            self._thread.start()

    def withdraw(self, key: Any) -> Make | None:
        """Remove what waits under a key and return it; None when it was flushed already."""
        return self._made.pop(key, None)

    def drain(self) -> None:
        """Flush everything now, as a process does that ends."""
        while self._flush():
            pass

    def _run(self) -> None:
        while True:
            self._pending.wait()
            last = time.monotonic()
            while time.monotonic() - last < self._quiet:
                time.sleep(self._delay)
                if self._flush():
                    last = time.monotonic()
            self._pending.clear()
            # What was put between the last flush and this.
            self._flush()

    def _flush(self) -> bool:
        """Send what waits; whether anything did."""
        with self._flushing:
            # A copy: other threads go on to put and to withdraw.
            keys = list(self._made)
            entries = [entry for key in keys if (entry := self._make(key))]
            try:
                if entries:
                    self._send(entries)
            except Exception:
                # Without this thread no delayed entry would be sent ever again.
                logger.exception("delayed entries could not be emitted")
        return bool(keys)

    def _make(self, key: Any) -> Entry | None:
        make = self.withdraw(key)
        try:
            return make() if make else None
        except Exception:
            logger.exception("a delayed entry could not be emitted")
            return None
