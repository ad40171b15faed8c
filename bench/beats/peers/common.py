"""The common parts of all schedulers under test."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from celery import Celery
from celery import beat as celery_beat
from celery.signals import beat_init

from bench.beats.plan import Item

BROKER = os.environ["BENCH_BROKER"]
DATABASE = os.environ.get("BENCH_DATABASE", "")
FOLDER = Path(os.environ["BENCH_FOLDER"])


def make_app(**settings: Any) -> Celery:
    """A Celery app as its documentation has it, on the broker of the trial."""
    app = Celery("bench", broker=BROKER)
    app.conf.update(
        timezone="UTC", enable_utc=True, task_ignore_result=True, broker_connection_retry_on_startup=True, **settings
    )
    return app


def in_process(app: Celery, scheduler: str) -> Any:
    """The scheduler as `celery beat` has it right before its first tick, in this process."""
    service = celery_beat.Service(app, scheduler_cls=scheduler, schedule_filename=str(FOLDER / "schedule"))
    made = service.scheduler
    beat_init.send(sender=service)
    return made


def tick(scheduler: Any) -> float:
    """One tick; gives how many seconds it wants to wait."""
    return float(scheduler.tick() or 0.0)


def first_tick(scheduler: Any) -> None:
    """The tick after which everything that is due has its place."""
    tick(scheduler)


def settle(_: Any) -> None:
    """Do the background work after a start, of which there is none."""


def no_edit(name: str, every: float) -> None:
    """Raise: there is no live edit."""
    raise NotImplementedError(f"{name} cannot be edited")


def never(*_: Any) -> bool:
    """Nothing is ever in force."""
    return False


def by_schedule(scheduler: Any, name: str, every: float) -> bool:
    """Whether the scheduler's memory holds that interval for that schedule; looking changes nothing."""
    entry = (scheduler._schedule or {}).get(name)  # noqa: SLF001 - the property would reload
    return entry is not None and entry.schedule.run_every.total_seconds() == every


@dataclass(frozen=True)
class Peer:
    """The functions by which the driver uses a scheduler.

    `first` ends with its first tick, `settle` with the background work after that. `fill` writes the
    schedules to its storage. `edit` changes one schedule's interval as its own documentation does, and commits.
    `applied` is whether that is in force in the scheduler of this process. `statements` gives how many SQL
    statements this process has executed, None where that is not known.
    """

    start: Callable[[], Any]
    fill: Callable[[list[Item]], None]
    first: Callable[[Any], None] = first_tick
    settle: Callable[[Any], None] = settle
    step: Callable[[Any], float] = tick
    edit: Callable[[str, float], None] = no_edit
    applied: Callable[[Any, str, float], bool] = never
    statements: Callable[[], int | None] = field(default=lambda: None)
