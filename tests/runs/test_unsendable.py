"""A run that cannot be sent has failed by the time its page is shown, and delays no other run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import redis as redis_client
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskCliRunner

from tests.runs.making import make_run
from tests.runs.routing import routed
from tests.support import fresh
from tests.visitors import Visitor
from webapp.extensions import db
from webapp.messaging import broker
from webapp.messaging.celery_config import DEFAULT_QUEUE
from webapp.run_store.creation import create_run
from webapp.run_store.models import Run
from webapp.run_store.states import Origin, RunState
from webapp.runs import service
from webapp.schedules import service as schedules

pytestmark = pytest.mark.each_database

ERROR = "Unsendable: its message cannot be made: LookupError: no queue for 13"


def _unlucky(_name: str, args: Any, *_: Any, **__: Any) -> None:
    if args and args[0] == 13:
        raise LookupError("no queue for 13")


def _by_first_argument(_name: str, args: Any, *_: Any, **__: Any) -> dict[str, str]:
    return {"queue": f"q-{args[0]}"}


@pytest.fixture(autouse=True)
def _router(app: Flask) -> Iterator[None]:
    """A project's router that has no queue for unlucky numbers."""
    with routed(_unlucky):
        yield


def _newest() -> Run:
    found = db.session.scalars(sa.select(Run).order_by(Run.created_at.desc())).first()
    assert found is not None
    return fresh(Run, found.id)


@pytest.mark.parametrize("how", ["launched", "retried", "added"])
def test_its_page_says_so(context: Flask, how: str) -> None:
    operator = Visitor(context, "operator")
    if how == "launched":
        answer = operator.post("/runs/new", {"task": "add", "mode": "json", "args": "[13, 2]", "kwargs": "{}"})
    elif how == "retried":
        answer = operator.post(f"/runs/{make_run(RunState.FAILED, args='[13, 2]')}/retry")
    else:
        answer = operator.post("/add-numbers/", {"num1": "13", "num2": "2"})
    run = _newest()
    assert (answer.status_code, run.id in answer.location) == (303, True)
    assert (run.state, run.error, run.sent_at, run.sends) == (RunState.FAILED, ERROR, None, 0)
    page = operator.get(answer.location).text
    assert "no queue for 13" in page
    assert "Launched." not in page


def test_the_command_line_says_so(context: Flask, runner: FlaskCliRunner) -> None:
    done = runner.invoke(args=["runs", "launch", "add", "--args", "[13, 2]"])
    assert done.exit_code == 1
    assert ERROR in done.output


def test_those_beside_it_are_sent(context: Flask, redis: redis_client.Redis) -> None:
    made = [create_run(db.session, "add", [number, 1], origin=Origin.LAUNCH) for number in (12, 13, 14)]
    db.session.commit()
    service.send_runs(made)
    states = [(run.state, run.sends) for run in (fresh(Run, run.id) for run in made)]
    assert states == [("queued", 1), ("failed", 0), ("queued", 1)]
    sent = [json.loads(raw)["headers"]["argsrepr"] for raw in redis.lrange(DEFAULT_QUEUE, 0, -1)]
    assert sorted(sent) == ["[12, 1]", "[14, 1]"]
    assert not broker.breaker.tripped


def test_pages_that_ask_where_it_would_go(context: Flask) -> None:
    """A router may also need arguments that a page does not have."""
    made = {"name": "unlucky", "task": "add", "args": [13, 2], "kind": "interval", "every": 1, "period": "hours"}
    schedule_id = schedules.create(made).id
    operator = Visitor(context, "operator")
    found = operator.post_json(f"/schedules/{schedule_id}/dry-run", {}).get_json()
    assert found["problem"] == "The message cannot be created: LookupError: no queue for 13"
    with routed(_by_first_argument):
        assert operator.post_json(f"/schedules/{schedule_id}/dry-run", {}).get_json()["queue"] == "q-13"
        for path in ("/schedules?queue=celery", "/schedules/calendar", f"/schedules/{schedule_id}", "/queues"):
            assert operator.get(path).status_code == 200, path
