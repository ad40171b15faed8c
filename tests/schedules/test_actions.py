from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
import redis as redis_client
import sqlalchemy as sa
from flask import Flask

from beatdesk.execution.ids import due_run_id
from tests.visitors import Visitor, number_of
from webapp.database.engine import now
from webapp.extensions import db
from webapp.identity.models import AuditEntry
from webapp.run_store import creation
from webapp.run_store.changes import CHANGES, read
from webapp.run_store.creation import NewRun
from webapp.run_store.models import Run
from webapp.run_store.states import Origin, RunState

pytestmark = pytest.mark.each_database

Filled = Callable[..., dict[str, Any]]


@pytest.fixture
def number(scheduler: Visitor, filled: Filled) -> int:
    return number_of(scheduler.post("/schedules", filled(queue="slow", expire_seconds="60")))


def runs(app: Flask) -> list[Run]:
    with app.app_context():
        found = list(db.session.scalars(sa.select(Run).order_by(Run.due_at)))
        db.session.remove()
    return found


def test_run_now_makes_one_run_that_knows_its_schedule(app: Flask, operator: Visitor, number: int) -> None:
    answer = operator.post(f"/schedules/{number}/run")
    run = runs(app)[0]
    assert answer.headers["Location"] == f"/runs/{run.id}"
    assert (run.task, json.loads(run.args), run.queue, run.schedule_id) == ("add", [1, 2], "slow", number)
    assert (run.schedule_name, run.schedule_version, run.due_at) == ("Sums", 1, None)
    assert run.sent_at is not None
    assert run.expires_at is not None
    assert "started manually" in operator.get(f"/schedules/{number}").text


def test_run_now_takes_other_arguments(app: Flask, operator: Visitor, number: int) -> None:
    answer = operator.post_json(f"/schedules/{number}/run", {"args": [5], "kwargs": {"num2": 6}})
    assert answer.status_code == 202
    run = runs(app)[0]
    assert answer.get_json()["run_id"] == run.id
    assert (json.loads(run.args), json.loads(run.kwargs)) == ([5], {"num2": 6})


@pytest.mark.parametrize("args", ["[1]", "not json", "[1, 2, 3]", "{}"])
def test_run_now_refuses_arguments_that_the_task_does_not_take(
    app: Flask, operator: Visitor, number: int, args: str
) -> None:
    answer = operator.post_json(f"/schedules/{number}/run", {"args": args})
    assert answer.status_code == 422
    assert answer.get_json()["fields"].keys() == {"args"}
    assert runs(app) == []


def test_a_disabled_schedule_can_be_run(app: Flask, scheduler: Visitor, number: int) -> None:
    scheduler.post(f"/schedules/{number}/disable")
    assert scheduler.post_json(f"/schedules/{number}/run").status_code == 202
    assert len(runs(app)) == 1


def test_the_next_due_time_is_skipped_and_beat_finds_it_taken(app: Flask, operator: Visitor, number: int) -> None:
    due = operator.read(f"/schedules/{number}")["next"][0]["utc"]
    answer = operator.post_json(f"/schedules/{number}/skip").get_json()
    assert answer["skipped"] == due
    skipped = runs(app)[0]
    assert (skipped.state, skipped.due_at) == (RunState.SKIPPED, datetime.fromisoformat(due))
    assert skipped.reason is not None
    assert "skipped in advance by Sita Gurung" in skipped.reason
    assert skipped.due_at is not None
    assert skipped.id == due_run_id(number, skipped.due_at.timestamp())
    with app.app_context():
        fired = NewRun(skipped.id, "add", RunState.QUEUED, Origin.SCHEDULE, now())
        fired = fired._replace(schedule_id=number, schedule_name="Sums", schedule_version=1, due_at=skipped.due_at)
        with db.engine.begin() as connection:
            assert creation.insert(connection, [fired], creation.FIRE_MISSED) == set()
    assert runs(app)[0].state == RunState.SKIPPED


def test_skipping_again_skips_the_one_after_it(
    app: Flask, operator: Visitor, number: int, redis: redis_client.Redis
) -> None:
    times = [due["utc"] for due in operator.read(f"/schedules/{number}")["next"]]
    skipped = [operator.post_json(f"/schedules/{number}/skip").get_json()["skipped"] for _ in range(2)]
    assert skipped == times[:2]
    row = operator.read("/schedules")["schedules"][0]
    assert row["next_due_at"] == times[2]
    assert row["last_run"] is None
    assert operator.get(f"/schedules/{number}").text.count("will be skipped") == 2
    first, second = (run.id for run in runs(app))
    operator.post(f"/schedules/{number}/unskip")
    assert runs(app) == []
    # Live pages hear of it.
    announced = [set(read(entry).runs or ()) for _, entry in redis.xrange(CHANGES)]
    assert announced == [{first}, {second}, {first, second}]
    assert operator.read("/schedules")["schedules"][0]["next_due_at"] == times[0]


def test_nothing_to_skip_is_a_conflict(scheduler: Visitor, number: int) -> None:
    scheduler.post(f"/schedules/{number}/disable")
    assert scheduler.post_json(f"/schedules/{number}/skip").status_code == 409


def test_each_is_audited_once(app: Flask, operator: Visitor, number: int) -> None:
    for action in ("run", "skip", "unskip", "unskip"):
        operator.post(f"/schedules/{number}/{action}")
    with app.app_context():
        actions = db.session.scalars(sa.select(AuditEntry.action).where(AuditEntry.object_type == "schedule")).all()
        db.session.remove()
    assert sorted(actions) == ["schedule.create", "schedule.run", "schedule.skip", "schedule.unskip"]


def test_a_clone_is_a_filled_form(scheduler: Visitor, number: int) -> None:
    page = scheduler.get(f"/schedules/new?clone={number}").text
    assert 'value="Sums copy"' in page
    assert 'value="30 8 * * *"' in page
    assert scheduler.get("/schedules/new?clone=4711").status_code == 404
