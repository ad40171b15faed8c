"""A run goes from its launch to its recorded end on each of Celery's pools."""

from __future__ import annotations

import pytest
from flask import Flask

from tests import processes
from tests.servers import wait_for
from tests.support import fresh
from webapp.config import Settings
from webapp.runs import service
from webapp.runs.models import Run
from webapp.runs.states import RunState

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo", "gevent", "eventlet"])
def test_run_is_recorded_on_pool(context: Flask, settings: Settings, pool: str) -> None:
    with (
        processes.worker(settings, "--pool", pool, "--concurrency", "2"),
        processes.recorder(settings),
    ):
        run = service.launch("add", [2, 3])
        wait_for(lambda: fresh(Run, run.id).ended, seconds=20, message="the run did not end")
    ended = fresh(Run, run.id)
    assert (ended.state, ended.result, ended.attempt, ended.claims) == (RunState.SUCCEEDED, "5", 0, 1)
    assert ended.sent_at is not None
    assert ended.started_at is not None
    assert ended.ended_at is not None
    assert ended.created_at <= ended.started_at <= ended.ended_at
