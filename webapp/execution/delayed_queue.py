"""What is told a moment later, unless somebody takes it back by then."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from webapp.run_store.events import Entry

logger = logging.getLogger(__name__)

# Seconds after which what may wait is told.
MOMENT = 0.04
# Seconds without anything to tell after which nobody looks for it any more, until there is something.
QUIET = 1.0

# Gives what is to be told, or None when there is nothing any more.
Make = Callable[[], Entry | None]


class Later:
    """Entries that are told together after a moment, by a thread of its own; each can be taken back until then."""

    def __init__(self, send: Callable[[list[Entry]], None], moment: float = MOMENT, quiet: float = QUIET) -> None:
        self._send = send
        self._moment, self._quiet = moment, quiet
        self._made: dict[Any, Make] = {}
        self._some = threading.Event()
        self._telling = threading.Lock()
        self._thread: threading.Thread | None = None

    def put(self, key: Any, make: Make) -> None:
        """Tell later what `make` gives then, if it gives anything."""
        self._made[key] = make
        if not self._some.is_set():
            self._some.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="telling", daemon=True)
            self._thread.start()

    def take_back(self, key: Any) -> Make | None:
        """What was not told yet, and is now the caller's to tell; None when there is nothing."""
        return self._made.pop(key, None)

    def drain(self) -> None:
        """Tell all of it now, as a process does that ends."""
        while self._tell():
            pass

    def _run(self) -> None:
        while True:
            self._some.wait()
            last = time.monotonic()
            while time.monotonic() - last < self._quiet:
                time.sleep(self._moment)
                if self._tell():
                    last = time.monotonic()
            self._some.clear()
            # What came between the last look and this.
            self._tell()

    def _tell(self) -> bool:
        """Whether there was anything to look at."""
        with self._telling:
            # A copy: others go on to put and to take back.
            keys = list(self._made)
            entries = [entry for key in keys if (entry := self._taken(key))]
            try:
                if entries:
                    self._send(entries)
            except Exception:
                # Without this thread nothing would be told later ever again.
                logger.exception("delayed entries could not be emitted")
        return bool(keys)

    def _taken(self, key: Any) -> Entry | None:
        make = self.take_back(key)
        try:
            return make() if make else None
        except Exception:
            logger.exception("a delayed entry could not be emitted")
            return None
