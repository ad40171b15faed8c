"""Emits what happens to runs as entries of the stream: ends at once, starts and receipts a moment later.

A short task would otherwise spend more on its entries than on itself. So:

1. That a run has started is in its row already, by the claim; an entry only makes pages look. It is emitted when the
   run still goes on after a moment. A run that ends, or waits for another attempt, before that has both in one entry.
2. That a worker received a run is an entry of its own only while the run waits there, and else part of its next one.
3. Whether Redis took the end of a run that succeeded is checked a moment later; until then the entry is kept. What
   Redis did not take is appended again, or written to the database.
"""

from __future__ import annotations

import atexit
import json
import logging
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import redis
from celery import signals

from beatdesk.execution.delayed_queue import DelayedQueue
from beatdesk.execution.events import OVER, TEXT_LIMIT, Entry, Event
from beatdesk.execution.host import get_host
from beatdesk.execution.ids import had_row, id_of_task
from beatdesk.execution.message import row_of_message, run_of_message
from beatdesk.execution.redis_appender import RedisAppender, commands_of
from beatdesk.secrecy import executing

logger = logging.getLogger(__name__)

# Seconds after which a receipt is emitted. Longer than for a start: the main process, which each run passes, is woken
# for it.
RECEIVED_DELAY = 0.25
# In a message's headers, as the worker hands them to its pool: when it was received, in epoch seconds.
RECEIVED = "beatdesk_received"
# So frequent that to wait for Redis' answer would cost more than all the rest.
UNAWAITED = frozenset({Event.SUCCEEDED})
# Their text is JSON whose values were masked before.
_JSON_EVENTS = frozenset({Event.SUCCEEDED, Event.PUBLISHED, Event.RELEASED, Event.PROGRESS, Event.LINE})


def _append_delayed(entries: list[Entry]) -> None:
    """Append; with Redis away starts are dropped, because the end repeats them, and ends are recorded directly."""
    try:
        append_all(get_host().redis(), entries)
    except (redis.RedisError, OSError) as error:
        ends = [entry for entry in entries if entry.event in OVER or entry.claim]
        logger.info("the start of %d runs was not emitted, Redis does not answer: %s", len(entries) - len(ends), error)
        for entry in ends:
            _record(entry, error)


def append_all(client: redis.Redis, entries: Iterable[Entry]) -> None:
    """Append entries in one go. Raises redis.RedisError, OSError."""
    with client.pipeline(transaction=False) as pipeline:
        for entry in entries:
            for command in commands_of(entry):
                pipeline.execute_command(*command)
        pipeline.execute()


_delayed = DelayedQueue(_append_delayed)
_received = DelayedQueue(_append_delayed, RECEIVED_DELAY)
_appender: RedisAppender | None = None


@signals.worker_process_init.connect
def _after_fork(**_: Any) -> None:
    """Start with queues and connections of this process: threads and entries stay with the one that was copied."""
    global _delayed, _received, _appender  # there is one of each in each process
    _delayed, _received, _appender = DelayedQueue(_append_delayed), DelayedQueue(_append_delayed, RECEIVED_DELAY), None


@signals.worker_process_shutdown.connect
def _before_exit(**_: Any) -> None:
    """A process of a pool ends without calling what `atexit` has registered."""
    drain()


@atexit.register
def drain() -> None:
    """Emit everything that is delayed, and read the answers that were not waited for. Never raises."""
    _received.drain()
    _delayed.drain()


@dataclass(frozen=True, slots=True)
class Subject:
    """The run that an entry is about, where no request of Celery's says so."""

    id: str
    retries: int = 0
    hostname: str | None = None
    task: str = ""
    over: tuple[Any, ...] = ()


def emit_received(request: Any) -> None:
    """Emit a moment later that this worker received a run, unless it is being executed by then.

    `request` is Celery's own, of the worker's main process.
    """
    at = time.time()
    request.request_dict[RECEIVED] = at

    def make() -> Entry | None:
        if request.time_start is not None:
            return None
        embedded = request.message.payload[2] if len(request.message.payload) == 3 else {}
        return received_entry({**request.request_dict, **(embedded or {})})

    _received.put((request.id, at), make)


def append_received(message: Mapping[str, Any]) -> str:
    """Append at once that a run was received, so that it has its row for what comes next; gives the run's id."""
    entry = received_entry(message)
    try:
        _append(entry)
    except (redis.RedisError, OSError) as error:
        _record(entry, error)
    return entry.run_id


def received_entry(message: Mapping[str, Any]) -> Entry:
    """The entry that this worker received a run, by the headers, arguments and embedded parts of its message.

    It holds the values of the run's row where the run may have none yet.
    """
    run_id, sent = run_of_message(message), ""
    if run_id is None or not had_row(run_id):
        sent = json.dumps(_values_of_row(message, is_ours=run_id is not None), default=repr)
    return Entry(
        run_id or id_of_task(str(message["id"])),
        Event.RECEIVED,
        0,
        _from_epoch(message.get(RECEIVED) or time.time()),
        # A text too large for the stream would be cut; such a run gets its row when it is claimed.
        text=sent if len(sent) <= TEXT_LIMIT else "",
        worker=message.get("hostname") or "",
        task=str(message.get("task") or ""),
    )


def _values_of_row(message: Mapping[str, Any], *, is_ours: bool) -> dict[str, Any]:
    info = message.get("delivery_info") or {}
    if info.get("redelivered") or message.get("retries") or message.get("replaced_task_nesting"):
        # It continues a run that has its row.
        return {}
    body = message.get("args"), message.get("kwargs"), message
    row = row_of_message(str(message.get("task")), body, message, info.get("routing_key"))
    # In the words of `runs.origin`.
    origin = "task" if row["parent_id"] else "program"
    return {**row, "external_id": str(message["id"]), "origin": origin, "repeatable": not is_ours}


def emit_started(request: Any) -> None:
    """Emit a moment later that a run has started, unless its end is emitted before that."""
    _delayed.put(_key(request), _Started(request))


class _Started:
    """Makes the entry that a run has started."""

    __slots__ = ("at", "request")

    def __init__(self, request: Any) -> None:
        self.request = request
        self.at = time.time()

    def __call__(self) -> Entry:
        more = {"received": self.received, "claim": self.claim}
        return _entry(self.request, Event.STARTED, _from_epoch(self.at), **more)

    @property
    def claim(self) -> str:
        """What the recorder has to know of its claim, where Redis has that."""
        return getattr(self.request, "claim", "")

    @property
    def received(self) -> datetime | None:
        """When this worker received it, as far as it knows."""
        at = getattr(self.request, RECEIVED, None)
        return None if at is None else _from_epoch(at)


def emit(
    request: Any,
    event: Event,
    text: str = "",
    traceback: str = "",
    seconds: float | None = None,
    *,
    at: datetime | None = None,
) -> None:
    """Append a state change to the stream; with Redis away, write it to the database at once. Never raises.

    `at` is when it happened, if that is not now.
    """
    more: dict[str, Any] = {"also": getattr(request, "over", ())} if event in OVER else {}
    begun = _delayed.withdraw(_key(request)) if event in OVER or event is Event.RELEASED else None
    if isinstance(begun, _Started):
        more |= {"began": _from_epoch(begun.at), "received": begun.received, "claim": begun.claim}
    entry = _entry(
        request,
        event,
        at or datetime.now(UTC),
        text=(executing.hidden_in_json if event in _JSON_EVENTS else executing.hidden)(request.id, text),
        traceback=executing.hidden(request.id, traceback),
        seconds=seconds,
        **more,
    )
    try:
        _append(entry)
    except (redis.RedisError, OSError) as error:
        _record(entry, error)


def _key(request: Any) -> tuple[str, int]:
    return request.id, getattr(request, "retries", 0) or 0


def _entry(request: Any, event: Event, at: datetime, **more: Any) -> Entry:
    run_id, attempt = _key(request)
    worker, task = getattr(request, "hostname", None) or "", getattr(request, "task", None) or ""
    return Entry(run_id, event, attempt, at, worker=worker, task=task, **more)


def _from_epoch(epoch: float) -> datetime:
    return datetime.fromtimestamp(epoch, UTC)


def _process_appender() -> RedisAppender:
    """This process's own, for the Redis that the host has now."""
    global _appender  # noqa: PLW0603  # there is one in each process
    pool = get_host().redis().connection_pool
    if _appender is None or _appender.pool is not pool:
        _appender = RedisAppender(pool, _append_again)
    return _appender


def _append(entry: Entry) -> None:
    """Append to the stream. Raises redis.RedisError, OSError."""
    appender = _process_appender()
    wait = entry.event not in UNAWAITED
    try:
        appender.append(entry, wait=wait)
    except (redis.ConnectionError, OSError):
        # A connection from before a restart of Redis. An entry that is appended twice is applied once.
        append_all(get_host().redis(), [entry])
    else:
        if not wait:
            _delayed.put(appender, appender.read_answers)


def _append_again(entry: Entry) -> None:
    """Append an entry that Redis may not have taken; one that it has twice is applied once."""
    _delayed.put(entry, lambda: entry)


def _record(entry: Entry, error: Exception) -> None:
    """Record an entry that Redis does not take. Never raises."""
    logger.warning("run %s is recorded directly, Redis does not answer: %s", entry.run_id, error)
    # Redis would have given it an id, by which the recorder knows a repetition.
    get_host().record(entry._replace(entry_id=uuid.uuid4().hex))
