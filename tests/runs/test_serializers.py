"""Beatdesk sends JSON only: a task that declares another serializer gets JSON, and its pages mention it."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest
import redis as redis_client
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskCliRunner

from tests import processes
from tests.servers import wait_for
from tests.support import fresh, reading
from tests.visitors import Visitor
from webapp.config import Settings
from webapp.extensions import celery, db
from webapp.messaging.celery_config import DEFAULT_QUEUE, execution
from webapp.run_store.models import Run
from webapp.run_store.statements import Sendable
from webapp.run_store.states import RunState
from webapp.runs import control
from webapp.schedule_store.rows import TASKS
from webapp.scheduler.sending.messages import Sender
from webapp.schedules import service as schedules

pytestmark = pytest.mark.each_database

NOTE = "The task declares the serializer “{}”. Beatdesk sends its arguments as JSON."
MODULE = "tests.runs.serializing_tasks"
NAMES = {"pickle": "tests.pickled", "yaml": "tests.yaml", "nosuch": "tests.nosuch"}


@pytest.fixture(autouse=True)
def _tasks(app: Flask) -> Iterator[None]:
    for serializer, name in NAMES.items():

        @celery.task(name=name, serializer=serializer, shared=False)
        def sample(x: int = 1) -> int:
            return x

    yield
    for name in NAMES.values():
        celery.tasks.pop(name)


def _sent(redis: redis_client.Redis) -> list[tuple[str, Any]]:
    """The content type and the body of each message."""
    found = [json.loads(raw) for raw in redis.lrange(DEFAULT_QUEUE, 0, -1)]
    return [(message["content-type"], json.loads(b64decode(message["body"]))[:2]) for message in found]


@pytest.mark.parametrize("serializer", NAMES)
def test_it_is_sent_as_json(context: Flask, redis: redis_client.Redis, serializer: str) -> None:
    """By a page, by beat, by another task, and whatever serializer the call asks for."""
    name = NAMES[serializer]
    run = control.launch(name, [2])
    assert fresh(Run, run.id).state == RunState.QUEUED
    sender = Sender(celery)
    row = {field: getattr(run, field) for field in ("id", "task", "args", "kwargs", "queue", "priority", "options")}
    sender.send([Sendable(**row, expires_at=None), Sendable(**row, expires_at=None, attempt=1)], lambda: True, [])
    sender.close()
    celery.tasks[name].delay(2)
    celery.send_task("add", [2], serializer=serializer)
    assert _sent(redis) == [("application/json", [[2], {}])] * 5


def test_its_pages_say_so(context: Flask, runner: FlaskCliRunner) -> None:
    visitor, note = Visitor(context, "scheduler"), NOTE.format("nosuch")
    asked = {"name": "odd", "task": "tests.nosuch", "args": [2], "kind": "interval", "every": 1, "period": "hours"}
    made = schedules.create(asked)
    # Whatever created the row.
    db.session.execute(sa.update(TASKS).where(TASKS.c.id == made.id).values(task="tests.nosuch"))
    db.session.commit()
    for path in ("/runs/new?task=tests.nosuch", f"/schedules/{made.id}"):
        assert note in visitor.get(path).text
    assert "declares the serializer" not in visitor.get("/runs/new?task=add").text
    assert visitor.get(f"/schedules/{made.id}", accept="application/json").get_json()["note"] == note
    assert visitor.post_json(f"/schedules/{made.id}/run", {}).get_json()["note"] == note
    launched = runner.invoke(args=["runs", "launch", "tests.nosuch"])
    assert (launched.exit_code, note in launched.output) == (0, True)


@pytest.mark.slow
def test_worker_accepts_json_whatever_a_module_configures(context: Flask, settings: Settings) -> None:
    """A module that changes what workers accept, and what is sent, changes neither for what Beatdesk sends."""

    def states() -> list[str]:
        with reading():
            return sorted(db.session.scalars(sa.select(Run.state)))

    with processes.worker(settings, TASK_MODULES=MODULE) as worker:
        import_module(MODULE)
        celery.conf.update(execution(settings.broker_url))
        made = [control.launch(name, [3]) for name in ("serializing.yaml", "serializing.sends")]
        wait_for(lambda: worker.output().count(" succeeded in ") == 3, seconds=30, message="they did not end")
        assert "The task serializing.yaml: " + NOTE.format("yaml") in worker.output()
        with processes.recorder(settings):
            wait_for(lambda: states() == ["succeeded"] * 3, message="they were not recorded")
    assert fresh(Run, made[0].id).result == "3"
