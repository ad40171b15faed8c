"""A secret in the arguments of real runs is found nowhere but in the broker's message: S9 of the test plan."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import redis as redis_client
from flask import Flask

from tests import processes
from tests.runs.sample_tasks import charge
from tests.secrecy.searching import places_in_database, places_in_redis
from tests.servers import wait_for
from tests.support import fresh
from tests.visitors import Visitor
from webapp.config import Settings
from webapp.runs import control, service
from webapp.runs.models import Run
from webapp.runs.states import ENDED, Origin, RunState

pytestmark = pytest.mark.slow

SAMPLES = "tests.runs.sample_tasks"
CANARY = "canary-9c4e"
# Spelled in other ways in JSON, in a traceback and in an address.
CARD, WORD = f"{CANARY}-é'\"card", f'{CANARY}-\\word"/?'


@pytest.fixture
def settings(settings: Settings) -> Settings:
    import_module(SAMPLES)
    return settings.with_changes(task_modules=(SAMPLES,))


@pytest.fixture
def worker(context: Flask, settings: Settings) -> Iterator[processes.Process]:
    with (
        processes.recorder(settings),
        processes.worker(settings, "--events", "--concurrency", "1", TASK_MODULES=SAMPLES) as process,
    ):
        yield process


def ended(run_id: str) -> Run:
    wait_for(lambda: fresh(Run, run_id).state in ENDED, seconds=20, message=f"{run_id} did not end")
    return fresh(Run, run_id)


def test_canary_is_found_nowhere(
    context: Flask, settings: Settings, worker: processes.Process, redis: redis_client.Redis, tmp_path: Path
) -> None:
    call: dict[str, Any] = {"password": WORD, "path": str(tmp_path / "begun")}
    said = f"charging {CARD} for {WORD!r}"
    runs = [
        control.launch("samples.charge", [CARD], call, person=None, origin=origin)
        for origin, call in [(Origin.LAUNCH, call), (Origin.RETRY, {**call, "fail": True})]
    ]
    # Sent past us, by somebody's code.
    foreign = charge.delay(CARD, **call)
    succeeded, failed = (ended(run.id) for run in runs)
    result = foreign.get(timeout=20)
    adopted = ended(foreign.id)

    assert len((tmp_path / "begun").read_text().splitlines()) == 6, "each was executed twice, with its real arguments"
    assert (succeeded.state, failed.state, adopted.state) == (RunState.SUCCEEDED, RunState.FAILED, RunState.SUCCEEDED)
    assert json.loads(succeeded.result or "")["access_token"] == "•••"
    assert (failed.error or "").startswith("ValueError: charging ••• for '•••")
    assert "•••" in (failed.traceback or "")
    assert service.call_of(failed) == ([CARD], {**call, "fail": True})
    assert result["said"] != said

    assert places_in_database(CANARY) == []
    assert places_in_redis(settings.redis_url, CANARY) == []
    log = worker.output()
    assert CANARY not in log
    assert log.count("charging •••") >= 6
    admin = Visitor(context, "admin")
    pages = ["/", "/runs", "/runs.csv", "/runs.json", "/runs/failures", "/audit", "/mail", "/workers", "/queues"]
    pages += [f"/runs/{run.id}" for run in (*runs, adopted)] + [f"/runs/new?from={failed.id}"]
    for path in pages:
        answer = admin.get(path)
        assert answer.status_code == 200, path
        assert CANARY not in answer.text, path
    assert not [path for path in settings.data.rglob("*.eml") if CANARY in path.read_text()]
