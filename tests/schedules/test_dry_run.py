from __future__ import annotations

import json
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from tests.visitors import Visitor
from webapp.extensions import db
from webapp.messaging import broker
from webapp.run_store.models import Run
from webapp.run_store.worker_models import Worker
from webapp.schedule_store.rows import TASKS
from webapp.schedules import service


@pytest.fixture
def path(app: Flask) -> str:
    """A schedule for the queue `slow`, and a worker of that."""
    fields = {"task": "add", "args": [1, 2], "kind": "crontab", "crontab": "30 8 * * *", "timezone": "Europe/Berlin"}
    with app.app_context():
        made = service.create({**fields, "name": "Sums", "queue": "slow", "priority": 7, "expire_seconds": 90}).id
        worker = Worker(id="w", name="w@alpha", host="alpha", pid=2, pool="solo", concurrency=4)
        worker.queues, worker.tasks = '["slow"]', '["add"]'
        db.session.add(worker)
        db.session.commit()
        db.session.remove()
    return f"/schedules/{made}/dry-run"


def change(app: Flask, statement: Any) -> None:
    with app.app_context():
        db.session.execute(statement)
        db.session.commit()
        db.session.remove()


def test_it_shows_queue_arguments_and_consumers(app: Flask, operator: Visitor, path: str) -> None:
    found = operator.post_json(path, {}).get_json()
    assert (found["queue"], found["exchange"], found["routing_key"]) == ("slow", "", "slow")
    assert found["takers"] == [{"name": "w@alpha", "slots": 4, "busy": 0}]
    assert (found["priority"], found["expire_seconds"], found["waiting"], found["problem"]) == (7, 90, 0, None)
    assert found["content_type"] == "application/json"
    assert json.loads(found["body"])[:2] == [[1, 2], {}]
    assert found["bytes"] == len(found["body"])
    page = operator.post(path).text
    assert "1 worker would receive it." in page
    assert "w@alpha, 0 of 4 slots busy" in page
    with app.app_context():
        assert db.session.scalars(sa.select(Run)).all() == []
        assert broker.queue_depths(["slow"]) == {"slow": 0}
        db.session.remove()


def test_who_would_not_take_it(app: Flask, operator: Visitor, path: str) -> None:
    change(
        app,
        sa.insert(Worker).values(id="v", name="v@b", host="b", pid=3, pool="solo", concurrency=1, queues='["slow"]'),
    )
    assert "v@b also consumes “slow” but has not registered add" in operator.post(path).text
    change(app, sa.update(Worker).values(queues="[]"))
    assert "It would wait: no online worker consumes “slow”" in operator.post(path).text


def test_other_arguments_and_then_run_with_them(app: Flask, operator: Visitor, path: str) -> None:
    wrong = operator.post_json(path, {"args": [1]}).get_json()
    assert "does not take these arguments" in wrong["problem"]
    page = operator.post(path, {"args": "[3, 4]"}).text
    assert 'name="args" value="[3, 4]"' in page
    assert operator.post(path.replace("dry-run", "run"), {"args": "[3, 4]", "kwargs": "{}"}).status_code == 303
    with app.app_context():
        (run,) = db.session.scalars(sa.select(Run)).all()
        assert (run.args, run.queue, run.priority) == ("[3, 4]", "slow", 7)
        db.session.remove()


def test_invalid_arguments_are_reported_at_their_field(operator: Visitor, path: str) -> None:
    answer = operator.post(path, {"args": "[1", "kwargs": "{}"})
    assert answer.status_code == 422
    assert 'id="args-error"' in answer.text
    assert operator.post_json(path, {"args": "[1"}).get_json()["fields"].keys() == {"args"}


def test_a_row_with_its_own_exchange(app: Flask, operator: Visitor, path: str) -> None:
    change(app, sa.update(TASKS).values(queue=None, exchange="events", routing_key="sums"))
    found = operator.post_json(path, {}).get_json()
    assert (found["exchange"], found["routing_key"]) == ("events", "sums")


def test_a_broker_that_is_away(operator: Visitor, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(_names: Any) -> None:
        raise broker.BrokerAway("no server listens there")

    monkeypatch.setattr(broker, "queue_depths", away)
    assert "It would wait: the broker does not answer (no server listens there)" in operator.post(path).text
