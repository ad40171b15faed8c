"""A secret in the arguments of real runs is found nowhere but in the broker's message: S9 of the test plan."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import redis as redis_client
import sqlalchemy as sa
from flask import Flask

from tests import processes
from tests.runs.sample_tasks import charge
from tests.secrecy.searching import places_in_database, places_in_redis
from tests.servers import wait_for
from tests.support import fresh, reading
from tests.visitors import Visitor
from webapp.config import Settings
from webapp.extensions import db
from webapp.run_store.models import Run
from webapp.run_store.states import ENDED, Origin, RunState
from webapp.runs import control, service
from webapp.schedule_store.rows import TASKS

pytestmark = pytest.mark.slow

SAMPLES = "tests.runs.sample_tasks"
CANARY = "canary-9c4e"
# Spelled in other ways in JSON, in a traceback and in an address.
NAMES = ("Authorization", "x-api-key", "private-key", "pwd", "passphrase", "accessKey", "cookie", "pin", "password")
SPILT = {name: f"{CANARY}-of-{name}" for name in NAMES} | {"dsn": f"amqp://maya:{CANARY}@broker/"}
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
    # Sent by other code, not through Beatdesk.
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

    log = worker.output()
    assert CANARY not in log
    assert log.count("charging •••") >= 6
    look_everywhere(context, settings, [*runs, adopted])


def test_canary_under_every_name_is_found_nowhere(
    context: Flask, settings: Settings, worker: processes.Process, redis: redis_client.Redis
) -> None:
    """In a schedule, an import, a launch, a retry, a chain and chords; in results and errors, in lines and events."""
    with redis.pubsub() as events:
        events.psubscribe("*celeryev*")
        scheduler = Visitor(context, "scheduler")
        entry = {"name": "spill", "task": "samples.spill", "kind": "interval", "every": 1, "period": "days"}
        file = json.dumps({"schedules": [{**entry, "kwargs": SPILT}]})
        assert scheduler.post_json("/schedules/import", {"file": file, "apply": True}).get_json()["applied"]
        run_now = scheduler.post_json("/schedules/1/run", {}).get_json()["run_id"]
        control.launch("samples.spill_all", [], SPILT, person=None)
        failing = control.launch("samples.spill", [], SPILT | {"fail": True}, person=None)
        assert ended(failing.id).state == RunState.FAILED
        shown = json.loads(fresh(Run, failing.id).kwargs)
        form = {"mode": "json", "task": "samples.spill", "args": "[]", "from": failing.id}
        retried = scheduler.post("/runs/new", form | {"kwargs": json.dumps(shown | {"fail": False})})
        assert ended(retried.location.removeprefix("/runs/")).state == RunState.SUCCEEDED
        wait_for(lambda: all_ended(11), seconds=30, message="the chain and the chords did not end")
        heard = [b64decode(json.loads(one["data"])["body"]).decode() for one in iter(events.get_message, None)
                 if one["type"] == "pmessage"]  # fmt: skip
    with reading():
        states = [run.state for run in db.session.query(Run).filter_by(task="samples.spill")]
    assert (states.count(RunState.SUCCEEDED), states.count(RunState.FAILED)) == (8, 2), states
    result = json.loads(ended(run_now).result or "")
    assert result["found"] == {**dict.fromkeys(NAMES, "•••"), "dsn": "amqp://maya:•••@broker/"}
    assert result["given"] == [*["•••"] * len(NAMES), "amqp://maya:•••@broker/"]
    assert len(heard) > 20
    assert "canary" not in "".join(heard)
    assert "canary-of-the-task" not in worker.output()
    assert places_in_database("canary-of-the-task") == []
    assert places_in_redis(settings.redis_url, "canary-of-the-task") == []
    assert CANARY not in worker.output()
    look_everywhere(context, settings, [fresh(Run, run_now), failing])


def all_ended(count: int) -> bool:
    with reading():
        states = db.session.scalars(sa.select(Run.state)).all()
    return len(states) == count and set(states) <= ENDED


def look_everywhere(context: Flask, settings: Settings, runs: list[Run]) -> None:
    """In the database, Redis, pages as every role, exports and mails."""
    assert places_in_database(CANARY) == []
    assert places_in_redis(settings.redis_url, CANARY) == []
    pages = ["/", "/runs", "/runs.csv", "/runs.json", "/failures", "/mail", "/workers", "/queues", "/schedules"]
    pages += ["/schedules/export", "/schedules/export?format=json", "/schedules/export?format=python"]
    with reading():
        pages += [f"/schedules/{number}" for number in db.session.scalars(sa.select(TASKS.c.id))]
    pages += [f"/runs/{run.id}" for run in runs] + [f"/runs/{run.id}/values/kwargs.json" for run in runs]
    only = {"operator": [f"/runs/new?from={run.id}" for run in runs], "admin": ["/audit"]}
    for role in ("viewer", "operator", "scheduler", "admin"):
        visitor = Visitor(context, role)
        for path in pages + only.get(role, []):
            answer = visitor.get(path)
            assert answer.status_code == 200, (role, path)
            assert CANARY not in answer.text, (role, path)
    assert not [path for path in settings.data.rglob("*.eml") if CANARY in path.read_text()]
