"""Tasks in the shapes that people write, on a real worker: each is claimed, recorded and ended."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
import sqlalchemy as sa
from celery import Celery
from flask import Flask

from tests import processes
from tests.servers import wait_for
from tests.support import fresh, reading
from tests.visitors import Visitor
from webapp.config import Settings
from webapp.extensions import db
from webapp.messaging.celery_config import DEFAULT_QUEUE
from webapp.run_store.models import Run
from webapp.run_store.states import Origin, RunState
from webapp.runs import control

pytestmark = pytest.mark.slow

TASKS = "tests.runs.field_tasks"
NAMED = "nightly-report"


@pytest.fixture(autouse=True)
def worker(context: Flask, settings: Settings) -> Iterator[None]:
    import_module(TASKS)
    with processes.recorder(settings), processes.worker(settings, "--concurrency", "2", TASK_MODULES=TASKS):
        yield


def runs_of(task: str) -> list[Run]:
    with reading():
        found = list(db.session.scalars(sa.select(Run).where(Run.task == task).order_by(Run.created_at, Run.id)))
        db.session.expunge_all()
        return found


def finish(*ids: str) -> list[Run]:
    wait_for(lambda: all(fresh(Run, run_id).ended for run_id in ids), seconds=40)
    return [fresh(Run, run_id) for run_id in ids]


def test_each_is_claimed_recorded_and_ended(context: Flask, settings: Settings, tmp_path: Path) -> None:
    bases = [control.launch("field.own_base", [str(tmp_path / "ledger"), fail]).id for fail in (False, True)]
    hows = ("ignore", "state_then_ignore", "bad_str", "bad_str_retry", "exit", "memory")
    ends = [control.launch("field.ends", [how]).id for how in hows]
    late = [control.launch(task).id for task in ("field.lost_late", "field.slow_late")]
    named_self = control.launch("field.named_self", [], {"self": 1, "value": 2}).id
    sends = control.launch("field.sends").id
    gate = tmp_path / "gate"
    going = control.launch("field.standard_progress", [str(gate)]).id
    with Celery(broker=settings.broker_url, set_as_current=False) as client:
        for number in range(3):
            client.send_task("field.echo", [f"theirs {number}"], task_id=NAMED, queue=DEFAULT_QUEUE)

    viewer = Visitor(context, "viewer")
    wait_for(lambda: 'value="75.0"' in viewer.get(f"/runs/{going}").text, seconds=30)
    gate.touch()

    done, failed = finish(*bases)
    assert (done.state, done.claims, done.result) == (RunState.SUCCEEDED, 1, f'"{done.id}"')
    assert (failed.state, failed.claims, failed.error) == (RunState.FAILED, 1, "ValueError: asked to fail")
    assert (tmp_path / "ledger").read_text() == "begun\n" * 2

    ended = dict(zip(hows, finish(*ends), strict=True))
    assert {how: run.state for how, run in ended.items()} == {
        "ignore": RunState.REVOKED,
        **dict.fromkeys(hows[1:], RunState.FAILED),
    }
    assert ended["state_then_ignore"].error == "ValueError: by hand"
    assert (ended["exit"].error, ended["memory"].error) == ("SystemExit: enough", "MemoryError: too much")
    assert {how: run.claims for how, run in ended.items()} == {**dict.fromkeys(hows, 1), "bad_str_retry": 2}

    # In the second attempt, which only the worker's main process sees end.
    lost, slow = finish(*late)
    assert {run.state for run in (lost, slow)} == {RunState.FAILED}
    assert "WorkerLost" in (lost.error or "")
    assert "TimeLimitExceeded" in (slow.error or "")
    [named] = finish(named_self)
    assert (named.error, named.result) == (None, "[1, 2]")
    check_sent(finish(sends)[0])


def check_sent(parent: Run) -> None:
    """Messages with IDs that a task chose, and those of other programs, are executed each time."""

    def echoed() -> dict[str | None, Run]:
        return {run.result: run for run in runs_of("field.echo") if run.state == RunState.SUCCEEDED}

    expected = {"0", "1", "2", '"again"', *(f'"theirs {number}"' for number in range(3))}
    wait_for(lambda: set(echoed()) == expected, seconds=20)
    runs = echoed()
    assert {runs[text].origin for text in ("0", "1", "2", '"again"')} == {Origin.TASK}
    assert runs['"again"'].external_id == parent.id
    assert {runs[text].external_id for text in ("0", "1", "2")} == {"daily-report:customer-4711:2026-11-25:x"}
    theirs = [runs[f'"theirs {number}"'] for number in range(3)]
    assert {(run.origin, run.external_id, run.claims) for run in theirs} == {(Origin.PROGRAM, NAMED, 1)}
    [unknown] = runs_of("unknown.task")
    finish(unknown.id)
    [unknown] = runs_of("unknown.task")
    assert (unknown.state, unknown.error) == (RunState.FAILED, "NotExecutable: no worker knows this task")
