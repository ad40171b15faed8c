"""What Redis did not take: kept in memory, up to a limit, and appended by a thread once it answers again."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from itertools import islice

import redis

from beatdesk.execution.emitter import append_all
from beatdesk.execution.events import Entry

logger = logging.getLogger(__name__)

# Of one process. An entry mostly has a kilobyte.
MAX_ENTRIES = 10_000
BATCH = 500
RETRY_SECONDS = 1.0


class Backlog:
    """Entries in the order in which they came; of too many the oldest are dropped, counted and logged."""

    def __init__(self, client: Callable[[], redis.Redis]) -> None:
        self._client = client
        self._entries: deque[Entry] = deque()
        self._lock, self._flushing = threading.Lock(), threading.Lock()
        self._woken = threading.Event()
        self._process = 0
        self.dropped = 0

    def put(self, entry: Entry) -> None:
        """Keep an entry. Never raises."""
        with self._lock:
            self._entries.append(entry)
            if len(self._entries) > MAX_ENTRIES:
                self._entries.popleft()
                self.dropped += 1
                if self.dropped == 1:
                    logger.error("Redis is away for too long: of what happens to runs, the oldest is not recorded")
            if self._process != os.getpid():
                self._process = os.getpid()
                threading.Thread(target=self._run, name="beatdesk-backlog", daemon=True).start()
        self._woken.set()

    def forget(self) -> None:
        """Leave the entries of the process that this one was copied from to that one."""
        self.__init__(self._client)  # type: ignore[misc]  # its lock may be held by a thread that was not copied

    def flush(self) -> None:
        """Append as much as Redis takes. Raises redis.RedisError, OSError."""
        # One thread at a time: the second one would remove entries that were not appended.
        with self._flushing:
            while batch := self._oldest():
                append_all(self._client(), batch)
                with self._lock:
                    for _ in range(min(len(batch), len(self._entries))):
                        self._entries.popleft()
        if self.dropped:
            logger.error("%d entries about runs were dropped while Redis was away", self.dropped)
            self.dropped = 0

    def _oldest(self) -> list[Entry]:
        with self._lock:
            return list(islice(self._entries, BATCH))

    def _run(self) -> None:
        while True:
            self._woken.wait()
            self._woken.clear()
            while self._entries:
                try:
                    self.flush()
                except (redis.RedisError, OSError):
                    time.sleep(RETRY_SECONDS)
