"""A run goes from its launch to its recorded end on each of Celery's pools."""

from __future__ import annotations

import pytest
from flask import Flask

from tests import processes
from tests.servers import wait_for
from webapp.config import Settings
from webapp.extensions import db
from webapp.runs import service
from webapp.runs.models import Run
from webapp.runs.states import RunState

pytestmark = pytest.mark.slow


def reload(run_id: str) -> Run:
    db.session.rollback()
    db.session.expire_all()
    return service.get_run(run_id)


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo", "gevent", "eventlet"])
def test_run_is_recorded_on_pool(context: Flask, settings: Settings, pool: str) -> None:
    with (
        processes.worker(settings, "--pool", pool, "--concurrency", "2"),
        processes.recorder(settings),
    ):
        run = service.launch("add", [2, 3])
        wait_for(lambda: reload(run.id).ended, seconds=20, message="the run did not end")
    ended = reload(run.id)
    assert (ended.state, ended.result, ended.attempt, ended.claims) == (RunState.SUCCEEDED, "5", 0, 1)
    assert ended.sent_at is not None
    assert ended.started_at is not None
    assert ended.ended_at is not None
    assert ended.created_at <= ended.started_at <= ended.ended_at
