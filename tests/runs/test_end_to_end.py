"""Runs on a real worker with a real recorder: executed once, recorded, cancelled, kept."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import redis as redis_client
from flask import Flask

from tests import processes
from tests.servers import wait_for
from tests.support import fresh
from tests.visitors import Visitor
from webapp.config import Settings
from webapp.run_store import sending
from webapp.run_store.models import Run
from webapp.run_store.states import RunState
from webapp.runs import control

pytestmark = pytest.mark.slow

SAMPLES = "tests.runs.sample_tasks"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    # The Celery app of this process has looked for its modules already, for another test.
    import_module(SAMPLES)
    return settings.with_changes(task_modules=(SAMPLES,))


@pytest.fixture
def recorder(context: Flask, settings: Settings) -> Iterator[None]:
    with processes.recorder(settings):
        yield


def until(run_id: str, *states: RunState) -> Run:
    """The run as soon as it is in one of the states."""
    wait_for(lambda: fresh(Run, run_id).state in states, seconds=20, message=f"{run_id} was not {states}")
    return fresh(Run, run_id)


def lines(path: Path) -> int:
    return len(path.read_text().splitlines()) if path.exists() else 0


def send_again(run_id: str) -> None:
    """Publish the message of a run once more, as a broker does that delivers twice."""
    run = fresh(Run, run_id)
    assert sending.publish([run]) == [run_id]


def test_two_and_three_become_five_and_stay_so(
    context: Flask, settings: Settings, recorder: None, redis: redis_client.Redis
) -> None:
    operator = Visitor(context, "operator")
    with processes.worker(settings, "--concurrency", "1", TASK_MODULES=SAMPLES):
        task_id = operator.post_json("/add-numbers/", {"num1": 2, "num2": 3}).get_json()["task_id"]
        path = f"/task-result/{task_id}/"

        def outcome() -> dict[str, Any]:
            return dict(operator.get(path, accept="application/json").get_json())

        wait_for(lambda: outcome()["status"] == "succeeded", seconds=20)
        assert outcome() == {"task_id": task_id, "status": "succeeded", "result": 5}
        # The one task of Celery's own that may be called is a run like any other.
        cleaning = control.launch("celery.backend_cleanup")
        assert until(cleaning.id, RunState.SUCCEEDED).result == "null"
        failed = control.launch("samples.fail", ["<b>no</b>"])
        assert until(failed.id, RunState.FAILED).error == "ValueError: <b>no</b>"
        text = operator.get(f"/runs/{failed.id}").text
        assert "&lt;b&gt;no&lt;/b&gt;" in text
        assert "sample_tasks.py" in text
    redis.flushall()
    assert operator.get(path, accept="application/json").get_json()["result"] == 5
    assert task_id in operator.get("/runs").text


def test_message_delivered_twice_is_executed_once(
    context: Flask, settings: Settings, recorder: None, tmp_path: Path
) -> None:
    noted, awaited = tmp_path / "noted", tmp_path / "awaited"
    with processes.worker(settings, "--concurrency", "2", TASK_MODULES=SAMPLES):
        done = control.launch("samples.note", [str(noted)])
        until(done.id, RunState.SUCCEEDED)
        running = control.launch("samples.wait", [str(awaited)])
        until(running.id, RunState.STARTED)
        for _ in range(2):
            send_again(done.id)
            send_again(running.id)
        # What was sent after them has ended, so that they were delivered too.
        fence = control.launch("add", [1, 1])
        until(fence.id, RunState.SUCCEEDED)
        awaited.touch()
        ended = until(running.id, RunState.SUCCEEDED)
    assert (lines(noted), lines(tmp_path / "awaited.begun")) == (1, 1)
    assert (ended.claims, ended.attempt, fresh(Run, done.id).claims) == (1, 0, 1)


def test_cancelling_ends_a_task_that_runs(context: Flask, settings: Settings, recorder: None, tmp_path: Path) -> None:
    operator = Visitor(context, "operator")
    # Two processes: Celery may hand the next message to the one that is just being replaced, where it waits for beat.
    with processes.worker(settings, "--concurrency", "2", TASK_MODULES=SAMPLES):
        run = control.launch("samples.wait", [str(tmp_path / "never")])
        wait_for(lambda: lines(tmp_path / "never.begun") == 1, seconds=20)
        assert operator.post(f"/runs/{run.id}/cancel").status_code == 303
        ended = until(run.id, RunState.REVOKED, RunState.FAILED)
        # The worker goes on with the next one.
        until(control.launch("add", [1, 1]).id, RunState.SUCCEEDED)
    assert (ended.state, ended.reason, ended.claims) == (RunState.REVOKED, "Terminated while it ran", 1)


def test_cancelled_run_never_begins(context: Flask, settings: Settings, recorder: None, tmp_path: Path) -> None:
    operator = Visitor(context, "operator")
    noted = tmp_path / "noted"
    run = control.launch("samples.note", [str(noted)])
    operator.post(f"/runs/{run.id}/cancel")
    with processes.worker(settings, "--concurrency", "1", TASK_MODULES=SAMPLES):
        until(control.launch("add", [1, 1]).id, RunState.SUCCEEDED)
    assert lines(noted) == 0
    assert (fresh(Run, run.id).state, fresh(Run, run.id).claims) == (RunState.REVOKED, 0)
