"""Time limits on a real worker: what a task sets, and the defaults for the others."""

from __future__ import annotations

from importlib import import_module

import pytest
from flask import Flask

from tests import processes
from tests.servers import wait_for
from tests.support import fresh
from webapp.config import Settings
from webapp.extensions import celery
from webapp.run_store.models import Run
from webapp.run_store.states import RunState
from webapp.runs import control

pytestmark = pytest.mark.slow

TASKS = "tests.runs.limited_tasks"
# Far from the limits of a second or two, near enough for a test to wait for.
LONG = 3.5


def test_task_has_exactly_the_limits_that_it_sets(context: Flask, settings: Settings) -> None:
    import_module(TASKS)
    limits = {"TASK_SOFT_TIME_LIMIT": "2", "TASK_TIME_LIMIT": "3"}
    with (
        processes.recorder(settings),
        processes.worker(settings, "--concurrency", "7", TASK_MODULES=TASKS, **limits),
    ):
        names = ("default", "hard", "annotated", "soft", "patient")
        runs = {name: control.launch(f"limited.{name}", [LONG]).id for name in names}
        sent = {
            "sent hard": celery.tasks["limited.soft"].apply_async((LONG,), time_limit=1).id,
            "sent long": celery.send_task("limited.default", (LONG,), time_limit=60).id,
        }
        wait_for(lambda: all(_ended(run_id) for run_id in (runs | sent).values()), seconds=30)
    ends = {name: fresh(Run, run_id) for name, run_id in (runs | sent).items()}
    assert {name: run.state for name, run in ends.items() if run.state != RunState.SUCCEEDED} == dict.fromkeys(
        ("default", "hard", "annotated", "sent hard"), RunState.FAILED
    )
    assert {name: (run.error or "").partition(":")[0].partition("(")[0] for name, run in ends.items() if run.error} == {
        "default": "SoftTimeLimitExceeded",
        "hard": "TimeLimitExceeded",
        "annotated": "TimeLimitExceeded",
        "sent hard": "TimeLimitExceeded",
    }
    assert ends["soft"].result == '"went on"'


def _ended(run_id: str) -> bool:
    return fresh(Run, run_id).ended
