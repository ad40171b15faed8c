"""Counters of task events and runtimes by worker, kept by the recorder in Redis for `/metrics`.

One hash for each worker, which expires a day after its last event. As Prometheus expects of counters, they only grow,
and start again at zero when Redis is emptied. Events that workers wrote to the database while Redis was away are not
counted.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from beatdesk.execution.events import Entry, Event

KEY = "beatdesk:tally:{worker}"
RETENTION_SECONDS = 86_400
# Upper bounds in seconds: the defaults of Prometheus, and some for tasks that take minutes.
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 30.0, 60.0, 120.0, 300.0)
RECEIVED, STARTED = "task-received", "task-started"
# The names that Celery gives these events, and Flower their counters. A receipt is counted with the run's start; an
# entry that only says that a run was received and waits is not counted.
TYPES = {
    Event.STARTED: STARTED,
    Event.OBSERVED: STARTED,
    Event.RETRYING: "task-retried",
    Event.SUCCEEDED: "task-succeeded",
    Event.FAILED: "task-failed",
    Event.REVOKED: "task-revoked",
    Event.EXPIRED: "task-revoked",
}

# By worker, then by field of its hash.
Counters = Mapping[str, Mapping[str, float]]


def count(entries: Iterable[Entry]) -> Counters:
    """The increments of these entries. As Flower's, runtimes are those of runs that succeeded."""
    found: defaultdict[str, defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
    for entry in entries:
        kind = TYPES.get(entry.event)
        if kind is None or not entry.worker or not entry.task:
            continue
        of_worker = found[entry.worker]
        for each in (kind, entry.received and RECEIVED, entry.began and STARTED):
            if each:
                of_worker[f"e {each} {entry.task}"] += 1
        if entry.event is Event.SUCCEEDED and entry.seconds is not None:
            of_worker[f"b {bisect_left(BUCKETS, entry.seconds)} {entry.task}"] += 1
            of_worker[f"s - {entry.task}"] += entry.seconds
    return found


def add(pipeline: Any, counters: Counters) -> None:
    """Add increments to Redis, in a transaction of the caller's."""
    for worker, fields in counters.items():
        key = KEY.format(worker=worker)
        for name, value in fields.items():
            pipeline.hincrbyfloat(key, name, value)
        pipeline.expire(key, RETENTION_SECONDS)


@dataclass
class TaskCounters:
    """The counters of one task in one worker: events by type; runtimes by bucket, and their sum in seconds."""

    events: dict[str, float] = field(default_factory=dict)
    buckets: list[float] = field(default_factory=lambda: [0.0] * (len(BUCKETS) + 1))
    seconds: float = 0.0


def read(client: Any, workers: Iterable[str]) -> dict[tuple[str, str], TaskCounters]:
    """The counters by worker and task. Raises redis.RedisError."""
    names = list(workers)
    with client.pipeline(transaction=False) as pipeline:
        for name in names:
            pipeline.hgetall(KEY.format(worker=name))
        answers = pipeline.execute()
    found: defaultdict[tuple[str, str], TaskCounters] = defaultdict(TaskCounters)
    for worker, fields in zip(names, answers, strict=True):
        for name, text in fields.items():
            # A field that is not a counter of ours is ignored.
            with suppress(ValueError, IndexError):
                sort, which, task = name.split(" ", 2)
                value = float(text)
                if sort == "e":
                    found[worker, task].events[which] = value
                elif sort == "b":
                    found[worker, task].buckets[int(which)] = value
                elif sort == "s":
                    found[worker, task].seconds = value
    return found
