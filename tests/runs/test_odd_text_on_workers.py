"""Text that UTF-8 or PostgreSQL cannot hold, said by tasks on a real worker with an odd name: recorded, readable."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path

import pytest
import redis as redis_client
import sqlalchemy as sa
from flask import Flask

from tests import processes
from tests.servers import wait_for
from tests.support import fresh, reading
from tests.visitors import Visitor
from webapp.config import Settings
from webapp.extensions import db
from webapp.messaging import broker
from webapp.recorder import rejected
from webapp.recorder.recorder import lag
from webapp.run_store.models import Run, RunLine
from webapp.run_store.states import ENDED, RunState
from webapp.run_store.worker_models import Worker
from webapp.runs import control

pytestmark = [pytest.mark.slow, pytest.mark.each_database]

SAMPLES = "tests.runs.odd_tasks"
# As it is kept: with the escapes as characters of their own.
KEPT = "caf\\udce9\\u0000"
ODD = os.fsdecode(b"caf\xe9\x00")
PLACES = ("log", "line", "progress", "send", "send by a name", "chord")
FAILURES = ("raise", "raise a class", "retry")


@pytest.fixture
def settings(settings: Settings) -> Settings:
    import_module(SAMPLES)
    return settings.with_changes(task_modules=(SAMPLES,))


def all_runs() -> list[Run]:
    with reading():
        rows = list(db.session.scalars(sa.select(Run)))
        for row in rows:
            db.session.expunge(row)
        return rows


def test_it_is_recorded_and_shown_escaped(
    context: Flask, settings: Settings, redis: redis_client.Redis, tmp_path: Path
) -> None:
    log = tmp_path / "odd.log"
    options = ("--concurrency", "2", "--logfile", str(log))
    worker = processes.worker(settings, *options, name="caf\udce9", TASK_MODULES=SAMPLES)
    with processes.recorder(settings) as recorder, worker as process:
        ids = {where: control.launch("odd.say", [where]).id for where in PLACES}
        ids |= {how: control.launch("odd.fail", [how]).id for how in FAILURES}
        secret = control.launch("odd.secret", [], {"password": ODD, "path": str(tmp_path / "x")})
        # Four that the tasks send, and what joins two of them.
        total = len(ids) + 1 + 5
        wait_for(lambda: len(all_runs()) == total and all(run.state in ENDED for run in all_runs()), seconds=40)
        again = control.retry(fresh(Run, secret.id), person=None)
        wait_for(lambda: fresh(Run, again.id).state in ENDED, seconds=20)
        assert (recorder.popen.poll(), process.popen.poll()) == (None, None)
        assert (lag(broker.client()).entries, rejected.newest(broker.client(), 1)) == (0, [])
    failed = {ids["raise"], ids["raise a class"], secret.id}
    states = {run.id: run.state for run in all_runs()}
    assert {run_id for run_id, state in states.items() if state != RunState.SUCCEEDED} == failed
    assert fresh(Run, ids["raise"]).error == f"ValueError: cannot read {KEPT}"
    assert KEPT in (fresh(Run, ids["raise"]).traceback or "")
    assert fresh(Run, ids["progress"]).progress_text == KEPT
    assert KEPT not in (fresh(Run, secret.id).error or KEPT)
    assert fresh(Run, again.id).result == "true"
    echoed = {run.args: run.result for run in all_runs() if run.task == "odd.echo"}
    assert echoed['["caf\\udce9\\u0000"]'] == '{"same": true, "value": "caf\\udce9\\u0000"}'
    assert [run.result for run in all_runs() if run.task == "odd.join"] == ['["caf\\udce9\\u0000", "plain"]']
    assert len([run for run in all_runs() if run.task == "odd.named \\udce9"]) == 1
    with reading():
        lines = {row.run_id: row.text for row in db.session.scalars(sa.select(RunLine))}
        names = [*db.session.scalars(sa.select(Worker.name))]
    assert (lines[ids["log"]], lines[ids["line"]], lines[ids["retry"]]) == (
        f"reading {KEPT}",
        KEPT,
        f"ValueError: {KEPT}",
    )
    assert names[0].startswith("caf\\udce9@")
    logged = log.read_text(encoding="utf-8")
    assert "reading caf\\udce9" in logged
    assert "\n    [2026-11-26 08:00:00,000: ERROR/MainProcess] forged\\u001b[2J\n" in logged
    assert [line for line in logged.splitlines() if not line.startswith(("[", "    "))] == []
    visitor = Visitor(context, "admin")
    for path in ("/runs", "/runs?q=caf", "/runs.csv", "/runs.json", "/failures", "/workers", "/metrics"):
        answer = visitor.get(path)
        assert answer.status_code == 200, path
        assert "\x00" not in answer.text
    assert "caf\\udce9" in visitor.get("/runs").text
    for run in all_runs():
        for part in ("", "/values/args", "/values/kwargs", "/values/result", "/values/result.json"):
            assert visitor.get(f"/runs/{run.id}{part}").status_code < 500, (run.task, part)
