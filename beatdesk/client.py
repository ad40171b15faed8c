"""Records what an adopted app's client processes send (web servers, scripts, its own beat), and never makes them wait.

1. When Celery has published a message, its run is described on the caller's thread, since arguments may change
   afterwards, and put into a bounded queue.
2. A thread of this process appends what is there, several times a second. With Redis away it tries again later.
3. What does not fit into the queue is not recorded, counted, and logged. Its run has its row once a worker receives it.

A process that was copied begins with an empty queue and a thread of its own. One that ends appends what is left.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import redis
from celery import Celery, signals

from beatdesk.execution.current import current
from beatdesk.execution.events import STREAM, STREAM_LENGTH, TEXT_LIMIT, Entry, Event
from beatdesk.execution.ids import external_id, id_of_task
from beatdesk.execution.message import row_of_message, run_of_message

logger = logging.getLogger(__name__)

# Entries that wait at most.
MAX_WAITING = 10_000
# Entries in one round trip.
BATCH = 500
# Seconds between two round trips, and between two attempts while Redis is away.
PAUSE, RETRY = 0.1, 2.0


class Recorder:
    """What this process has sent, on its way to the stream. `client_factory` gives a client of Redis."""

    def __init__(self, client_factory: Callable[[], redis.Redis]) -> None:
        self._client_factory = client_factory
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._waiting: deque[Entry] = deque()
        self._filled = threading.Event()
        self._appending = threading.Lock()
        self._thread: threading.Thread | None = None
        self._away = False
        self.dropped = 0

    def put(self, entry: Entry) -> None:
        """Have an entry appended. Does not wait."""
        if self._pid != os.getpid():
            self._reset()
        if len(self._waiting) >= MAX_WAITING:
            self.dropped += 1
            return
        self._waiting.append(entry)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="beatdesk-client", daemon=True)
            self._thread.start()
        if not self._filled.is_set():
            self._filled.set()

    def _run(self) -> None:
        while True:
            self._filled.wait()
            # What is sent within a moment goes together.
            time.sleep(PAUSE)
            self._filled.clear()
            while not self.flush():
                time.sleep(RETRY)

    def flush(self) -> bool:
        """Append all that waits; whether Redis took it. Never raises."""
        if self._pid != os.getpid():
            # A copied process that has sent nothing: what waits is the other's, and so is the lock.
            return True
        with self._appending:
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), BATCH))]
                try:
                    self._append(batch)
                except (redis.RedisError, OSError) as error:
                    self._waiting.extendleft(reversed(batch))
                    if not self._away:
                        logger.warning("Sent messages are recorded later, Redis does not answer: %s", error)
                    self._away = True
                    return False
                except Exception:
                    # The program that we are a guest in must not notice.
                    logger.exception("%d sent messages cannot be recorded", len(batch))
            if self.dropped:
                logger.warning("%d sent messages were not recorded, because too many waited for Redis", self.dropped)
            self._away, self.dropped = False, 0
            return True

    def _append(self, entries: list[Entry]) -> None:
        with self._client_factory().pipeline(transaction=False) as pipeline:
            for entry in entries:
                pipeline.xadd(STREAM, entry.fields(), maxlen=STREAM_LENGTH, approximate=True)
            pipeline.execute()


class _Sending(threading.local):
    """The headers of the message that this thread publishes, and since when."""

    headers: Any = None
    at: datetime | None = None


class Sent:
    """Receives Celery's signals of publishing, and describes the messages of one app. Runs send theirs by themselves.

    The signals do not name the app; the address for replies does, which each app has for each of its threads.
    """

    def __init__(self, app: Celery, recorder: Recorder, is_enabled: Callable[[], bool]) -> None:
        self._app, self._recorder, self._is_enabled = app, recorder, is_enabled
        self._sending = _Sending()

    def publishing(self, headers: Any = None, properties: Any = None, **_: Any) -> None:
        """Note when it began: a worker may have begun the run before the broker's answer is here."""
        is_ours = properties is not None and properties.get("reply_to") == self._app.thread_oid
        noted = is_ours and current() is None and self._is_enabled()
        self._sending.headers, self._sending.at = (headers, datetime.now(UTC)) if noted else (None, None)

    def published(self, sender: Any, headers: Any = None, body: Any = None, routing_key: Any = None, **_: Any) -> None:
        """Describe the run. Never raises."""
        at, self._sending.at = self._sending.at, None
        if at is None or headers is not self._sending.headers:
            return
        try:
            self._record(str(sender), headers, body, routing_key, at)
        except Exception:
            logger.exception("a sent message is not recorded")

    def _record(self, task: str, headers: Mapping[str, Any], body: Any, queue: str | None, at: datetime) -> None:
        task_id = headers.get("id")
        if not isinstance(task_id, str) or run_of_message(headers) is not None:
            return
        run_id = id_of_task(task_id)
        # In the words of `runs.origin`.
        row = {**row_of_message(task, body, headers, queue), "external_id": external_id(task_id), "origin": "program"}
        text = json.dumps(row, default=repr)
        # A text too large for the stream would be cut; such a run gets its row when it is received.
        if len(text) <= TEXT_LIMIT:
            self._recorder.put(Entry(run_id, Event.PUBLISHED, headers.get("retries") or 0, at, text, task=task))


def install(
    app: Celery, client_factory: Callable[[], redis.Redis], is_enabled: Callable[[], bool] = lambda: True
) -> Recorder:
    """Record what this app sends from now on, in this process and those that are copied from it."""
    recorder = Recorder(client_factory)
    sent = Sent(app, recorder, is_enabled)
    signals.before_task_publish.connect(sent.publishing, weak=False)
    signals.after_task_publish.connect(sent.published, weak=False)
    atexit.register(recorder.flush)
    return recorder
