"""Usual run times: median and 95th percentile of the last runs that ended, in seconds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from webapp.extensions import db
from webapp.run_store.models import Run

# How many of the newest runs of a task, and of a schedule, are read by their index.
RUNS_OF_TASK = 200
RUNS_OF_SCHEDULE = 20
# With fewer runs of its own, a schedule has the run time of its task.
MIN_RUNS = 3
# Schedules in one statement. With more, preparing it would take longer than executing it.
BATCH_SIZE = 50


@dataclass(frozen=True, slots=True)
class Usual:
    """Median and 95th percentile in seconds, and the number of runs they are based on."""

    median: float
    p95: float
    runs: int


# Assumed while no run has ended yet; pages say so.
UNKNOWN = Usual(1.0, 1.0, 0)


def usual(seconds: Sequence[float]) -> Usual:
    """The statistics of run times, rounded to two digits."""
    if not seconds:
        return UNKNOWN
    ordered = sorted(seconds)
    p95 = ordered[math.ceil(0.95 * len(ordered)) - 1]
    return Usual(_rounded(statistics.median(ordered)), _rounded(p95), len(ordered))


def of_tasks(tasks: Iterable[str]) -> dict[str, Usual]:
    """The usual run time of each task; UNKNOWN if no run has ended yet."""
    found: dict[str, Usual] = {}
    for task in tasks:
        newest = sa.select(Run.started_at, Run.ended_at).where(Run.task == task)
        newest = newest.order_by(Run.created_at.desc(), Run.id.desc()).limit(RUNS_OF_TASK)
        found[task] = usual([_seconds(began, ended) for began, ended in db.session.execute(newest) if began and ended])
    return found


def of_schedules(ids: Sequence[int], now: datetime) -> dict[int, Usual]:
    """The usual run times of schedules with at least MIN_RUNS runs."""
    lengths: dict[int, list[float]] = {}
    for place in range(0, len(ids), BATCH_SIZE):
        parts = []
        for schedule_id in ids[place : place + BATCH_SIZE]:
            newest = sa.select(Run.schedule_id, Run.started_at, Run.ended_at)
            newest = newest.where(Run.schedule_id == schedule_id, Run.due_at <= now)
            parts.append(sa.select(newest.order_by(Run.due_at.desc()).limit(RUNS_OF_SCHEDULE).subquery()))
        for schedule_id, started_at, ended_at in db.session.execute(sa.union_all(*parts)):
            if started_at is not None and ended_at is not None:
                lengths.setdefault(schedule_id, []).append(_seconds(started_at, ended_at))
    return {schedule_id: usual(found) for schedule_id, found in lengths.items() if len(found) >= MIN_RUNS}


def _seconds(started_at: datetime, ended_at: datetime) -> float:
    return max(0.0, (ended_at - started_at).total_seconds())


def _rounded(seconds: float) -> float:
    return float(f"{seconds:.2g}")
