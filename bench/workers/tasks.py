"""The tasks that are executed. They do nothing, so that only the work around them is measured."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

import redis
from celery import shared_task, signals

LAST = "bench:last"


@signals.celeryd_init.connect
def _leave_out_the_claim(**_: Any) -> None:
    """For the one kind that measures the record without the claim."""
    if os.environ["BENCH_KIND"] == "ours_told":
        host: Any = import_module("webapp.worker_process.host")
        host.DatabaseHost.claim = lambda _, delivery, *__: host.Claimed(delivery.run_id)


@shared_task(name="bench.empty", ignore_result=True)
def empty() -> None:
    """Do nothing."""


@shared_task(name="bench.empty_kept")
def empty_kept() -> None:
    """Do nothing, and have the result kept."""


@shared_task(name="bench.last", ignore_result=True)
def last() -> None:
    """Signal that all tasks before it have been executed: there is one process, which executes them in order."""
    redis.Redis.from_url(os.environ["BENCH_BROKER"]).set(LAST, 1)
