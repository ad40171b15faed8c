"""A page and beat send the same message, with what the task itself asks for."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import redis as redis_client
from celery import signals
from flask import Flask

from tests.outages import away
from webapp.config import Settings
from webapp.database.engine import now
from webapp.extensions import celery
from webapp.messaging import broker
from webapp.run_store import sending
from webapp.run_store.models import Run
from webapp.run_store.statements import Sendable
from webapp.scheduler.sending.messages import Sender


@pytest.fixture
def limited() -> Iterator[str]:
    """The name of a task with options of its own."""

    @celery.task(name="samples.limited", shared=False, soft_time_limit=3, time_limit=5, ignore_result=True)
    def limited(number: int) -> int:
        return number

    yield "samples.limited"
    celery.tasks.unregister("samples.limited")


def _run(**values: Any) -> Run:
    made = {"id": "0b0e7d1c-6f0c-5d4e-9a55-2f9f7c1f2a10", "task": "add", "args": "[1, 2]", "kwargs": '{"a": null}'}
    return Run(**made | values)


def _sendable(run: Run) -> Sendable:
    values = {name: getattr(run, name) for name in Sendable._fields}
    return Sendable(**values | {"attempt": run.attempt or 0})


def _taken(redis: redis_client.Redis, queue: str) -> dict[str, Any]:
    raw: Any = redis.rpop(queue)
    taken: dict[str, Any] = json.loads(raw)
    taken["body"] = json.loads(b64decode(taken["body"]))
    taken["properties"].pop("delivery_tag")
    if "expiration" in taken["properties"]:
        taken["properties"]["expiration"] = round(int(taken["properties"]["expiration"]) / 1000)
    return taken


@pytest.mark.parametrize(
    ("values", "queue"),
    [
        ({}, "beatdesk"),
        ({"queue": "slow", "priority": 3, "options": '{"headers": {"tenant": "a"}}'}, "slow\x06\x163"),
        ({"parent_id": "parent", "root_id": "root", "attempt": 2}, "beatdesk"),
    ],
    ids=["plain", "with options", "a child, retried"],
)
def test_a_page_sends_what_beat_sends(
    context: Flask, redis: redis_client.Redis, values: dict[str, Any], queue: str
) -> None:
    run = _run(expires_at=now() + timedelta(hours=1), **values)
    assert sending.publish([run]) == [run.id]
    by_page = _taken(redis, queue)
    sender = Sender(celery)
    sender.send([_sendable(run)], lambda: True, [])
    sender.close()
    assert by_page == _taken(redis, queue)


def test_the_tasks_own_options_are_in_it(context: Flask, redis: redis_client.Redis, limited: str) -> None:
    run = _run(task=limited, args="[1]", kwargs="{}")
    assert sending.publish([run]) == [run.id]
    taken = _taken(redis, "beatdesk")
    assert taken["headers"]["timelimit"] == [5, 3]
    assert taken["headers"]["ignore_result"] is True
    assert taken["headers"]["root_id"] == run.id


def test_a_page_that_imported_no_task_yet_imports_them(context: Flask, redis: redis_client.Redis, limited: str) -> None:
    task = celery.tasks.pop(limited)

    def register(**_: Any) -> None:
        celery.tasks.register(task)

    signals.import_modules.connect(register)
    try:
        sending.publish([_run(task=limited, args="[1]", kwargs="{}")])
    finally:
        signals.import_modules.disconnect(register)
    assert _taken(redis, "beatdesk")["headers"]["timelimit"] == [5, 3]


def test_without_a_broker_nothing_counts_as_sent(settings: Settings) -> None:
    with away(settings):
        assert sending.publish([_run()]) == []
        assert broker.breaker.tripped_until > 0
