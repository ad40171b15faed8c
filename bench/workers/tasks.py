"""The tasks that are executed. They do nothing, so that what is measured is what is around them."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

import redis
from celery import shared_task, signals

LAST = "bench:last"


@signals.celeryd_init.connect
def _leave_out_the_claim(**_: Any) -> None:
    """In the one kind that shows what telling costs, without what taking a run costs."""
    if os.environ["BENCH_KIND"] == "ours_told":
        host: Any = import_module("webapp.worker_process.host")
        host.DatabaseHost.claim = lambda _, delivery: delivery.run_id


@shared_task(name="bench.empty", ignore_result=True)
def empty() -> None:
    """Do nothing."""


@shared_task(name="bench.empty_kept")
def empty_kept() -> None:
    """Do nothing, and have the result kept."""


@shared_task(name="bench.last", ignore_result=True)
def last() -> None:
    """Tell that all tasks before it have been executed: there is one process, which executes them in order."""
    redis.Redis.from_url(os.environ["BENCH_BROKER"]).set(LAST, 1)
