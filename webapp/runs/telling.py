"""How a worker tells what happens to runs, by entries of the stream: ends at once, beginnings a moment later.

A short task would otherwise spend more on telling than on itself:

1. That a run has begun is in its row already, by the claim; an entry only makes pages look. It is told when the run
   still goes on after a moment. A run that ends, or waits for another attempt, before that tells both at once.
2. That a worker received a run is told by itself only while the run waits there, and else with what it tells first.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from itertools import chain
from typing import Any

import redis
import sqlalchemy as sa
from celery import signals
from flask import Flask, current_app, has_app_context

from webapp import broker
from webapp.database import now
from webapp.extensions import celery, db
from webapp.runs import recording
from webapp.runs.stream import OVER, STREAM, STREAM_LENGTH, Entry, Event
from webapp.secrecy import executing

logger = logging.getLogger(__name__)

# Seconds after which what may wait is told.
MOMENT = 0.04
# Seconds without anything to tell after which nobody looks for it any more, until there is something.
QUIET = 1.0
# In a message's headers, as its worker hands them to whoever executes it: when it was received, in epoch seconds.
RECEIVED = "beatdesk_received"
# Among an application's extensions.
LINES = "telling"


class Later:
    """Entries that are told together after a moment, by a thread of its own; each can be taken back until then."""

    def __init__(self, send: Callable[[list[Entry]], None], moment: float = MOMENT, quiet: float = QUIET) -> None:
        self._send = send
        self._moment, self._quiet = moment, quiet
        self._made: dict[Any, Callable[[], Entry | None]] = {}
        self._some = threading.Event()
        self._thread: threading.Thread | None = None

    def put(self, key: Any, make: Callable[[], Entry | None]) -> None:
        """Tell later what `make` gives then, if it gives anything."""
        self._made[key] = make
        if not self._some.is_set():
            self._some.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="telling", daemon=True)
            self._thread.start()

    def take_back(self, key: Any) -> Entry | None:
        """What was not told yet, and is now the caller's to tell; None when there is nothing."""
        make = self._made.pop(key, None)
        return make() if make else None

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
        # A copy: others go on to put and to take back.
        keys = list(self._made)
        try:
            entries = [entry for key in keys if (entry := self.take_back(key))]
            if entries:
                self._send(entries)
        except Exception:
            # Without this thread nothing would be told later ever again.
            logger.exception("what runs have begun could not be told")
        return bool(keys)


def _send_later(entries: list[Entry]) -> None:
    """With Redis away nobody learns it: that is told again, with the end."""
    try:
        with flask_app().app_context(), broker.client().pipeline(transaction=False) as pipeline:
            for entry in entries:
                pipeline.xadd(STREAM, entry.fields(), maxlen=STREAM_LENGTH, approximate=True)
            pipeline.execute()
    except (redis.RedisError, OSError) as error:
        logger.info("what %d runs have begun is not told, Redis is away: %s", len(entries), error)


_later = Later(_send_later)


@signals.worker_process_init.connect
def _after_fork(**_: Any) -> None:
    """Thread and connections stay with the process that we were copied from, and so does what it tells."""
    global _later  # noqa: PLW0603  # there is one in each process
    _later = Later(_send_later)
    flask_app().extensions.pop(LINES, None)


def flask_app() -> Flask:
    """The application that the Celery app is bound to."""
    app: Flask = celery.flask_app
    return app


def tell_received(request: Any) -> None:
    """Tell later that this worker received a run, unless somebody executes it by then, who says so.

    `request` is Celery's own, of the worker's main process.
    """
    at = time.time()
    request.request_dict[RECEIVED] = at

    def make() -> Entry | None:
        if request.time_start is not None:
            return None
        return Entry(request.id, Event.RECEIVED, 0, _moment(at), worker=request.hostname or "", task=request.name or "")

    _later.put(request.id, make)


def tell_begun(request: Any) -> None:
    """Tell later that a run has begun, unless it tells its end before that."""
    at = time.time()

    def make() -> Entry:
        received = getattr(request, RECEIVED, None)
        return _entry(request, Event.STARTED, _moment(at), received=None if received is None else _moment(received))

    _later.put(_key(request), make)


def tell(request: Any, event: Event, text: str = "", traceback: str = "", seconds: float | None = None) -> None:
    """Append a state change to the stream; with Redis away, write it to the database at once. Never raises."""
    begun = _later.take_back(_key(request)) if event in OVER else None
    entry = _entry(
        request,
        event,
        now(),
        text=executing.hidden(request.id, text),
        traceback=executing.hidden(request.id, traceback),
        seconds=seconds,
        began=begun.at if begun else None,
        received=begun.received if begun else None,
    )
    if has_app_context():
        _tell(entry)
    else:
        with flask_app().app_context():
            _tell(entry)


def _key(request: Any) -> tuple[str, int]:
    return request.id, getattr(request, "retries", 0) or 0


def _entry(request: Any, event: Event, at: datetime, **more: Any) -> Entry:
    run_id, attempt = _key(request)
    worker, task = getattr(request, "hostname", None) or "", getattr(request, "task", None) or ""
    return Entry(run_id, event, attempt, at, worker=worker, task=task, **more)


def _moment(epoch: float) -> datetime:
    return datetime.fromtimestamp(epoch, UTC)


class _Lines:
    """Connections to Redis for one command each: what its client does around a command costs more than the command.

    One that fails is closed. Raises redis.RedisError, OSError.
    """

    def __init__(self) -> None:
        self._idle: list[Any] = []

    def append(self, fields: Mapping[str, str]) -> None:
        """Append to the stream."""
        pool = broker.client().connection_pool
        try:
            line = self._idle.pop()
        except IndexError:
            line = pool.get_connection()
        try:
            line.send_command("XADD", STREAM, "MAXLEN", "~", STREAM_LENGTH, "*", *chain.from_iterable(fields.items()))
            line.read_response()
        except BaseException:
            # Also when the task's time is over just now: its answer must not become that of the next command.
            line.disconnect()
            pool.release(line)
            raise
        self._idle.append(line)


def _lines() -> _Lines:
    made: _Lines = current_app.extensions.setdefault(LINES, _Lines())
    return made


def _append(entry: Entry) -> None:
    """Append to the stream. Raises redis.RedisError, OSError."""
    fields = entry.fields()
    try:
        _lines().append(fields)
    except (redis.ConnectionError, OSError):
        # A connection of before a restart of Redis. What is appended twice is applied once.
        broker.client().xadd(STREAM, fields, maxlen=STREAM_LENGTH, approximate=True)


def _tell(entry: Entry) -> None:
    try:
        _append(entry)
    except (redis.RedisError, OSError) as error:
        logger.warning("run %s is recorded directly, Redis is away: %s", entry.run_id, error)
        # Redis would have named it: a repetition is known by its name.
        entry = replace(entry, entry_id=uuid.uuid4().hex)
        try:
            with db.engine.begin() as connection:
                recording.apply(connection, [entry])
        except sa.exc.SQLAlchemyError:
            logger.exception("run %s: %s could not be recorded", entry.run_id, entry.event.value)
