"""A run whose message cannot be built, or that the broker refuses, fails alone: all others are sent."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis as redis_client
from celery import Task, signals
from flask import Flask

from tests.runs.routing import routed
from tests.scheduler.beats import Rig
from tests.scheduler.unsent import check, queued
from tests.servers import wait_for
from webapp.extensions import celery
from webapp.messaging.celery_config import DEFAULT_QUEUE
from webapp.recorder import failure_budgets
from webapp.scheduler.sending.publisher import Publisher

pytestmark = pytest.mark.each_database

# Errors that a project's own router may raise, including connection errors that are not the broker's.
RAISED = [
    KeyError("nosuch"),
    ConnectionRefusedError("their service is away"),
    redis_client.ConnectionError("their Redis is away"),
    SystemExit("they meant to end the program"),
    ValueError("a text that\x00 no \udce4 database keeps"),
]


class Textless(Exception):
    """Has no text to be had."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_a_router_that_raises(beats: Rig, redis: redis_client.Redis) -> None:
    def route(name: str, args: Any, kwargs: Any, options: Any, **_: Any) -> None:
        if args and args[0] == "bad":
            raise [*RAISED, Textless()][args[1]]

    bad = [queued(beats, age=20, args=json.dumps(["bad", number])) for number in range(len(RAISED) + 1)]
    good = [queued(beats, age=30), queued(beats)]
    with routed(route):
        errors = check(beats, bad, good)
    assert errors[0] == "Unsendable: its message cannot be made: KeyError: 'nosuch'"
    assert errors[-1].endswith("Textless")
    assert redis.llen(DEFAULT_QUEUE) == len(good)


def _rows(task: str) -> list[dict[str, Any]]:
    return [
        {"task": task},
        {"options": '{"compression": '},
        {"options": '"a text"'},
        {"args": '[1, "half'},
        {"kwargs": '{"password": "hush"}', "sealed": "v1:of another key"},
        {"queue": "a-hash"},
        {"options": '{"routing_key": "a-hash", "exchange": ""}', "queue": "a-hash"},
    ]


def test_rows_that_cannot_be_made_into_messages(beats: Rig, redis: redis_client.Redis) -> None:
    @celery.task(name="tests.odd_name", compression="nosuch", shared=False)
    def odd() -> None:
        """Nothing."""

    redis.hset("a-hash", "a", "b")
    bad = [queued(beats, age=20, **row) for row in _rows("tests.odd_name")]
    good = [queued(beats, age=30), queued(beats, priority=3)]
    try:
        errors = check(beats, bad, good)
    finally:
        celery.tasks.pop("tests.odd_name")
    assert "another SECRET_KEY" in errors[4]
    assert "WRONGTYPE" in errors[5]


class Nameless(Task):
    """A project's own base class that cannot name its tasks."""

    abstract = True

    def shadow_name(self, args: Any, kwargs: Any, options: Any) -> str:
        raise LookupError(f"no name for {kwargs}")


def test_the_error_does_not_repeat_a_secret(beats: Rig, context: Flask) -> None:
    from beatdesk.secrecy.masking import conceal
    from webapp.task_catalogue.registry import rule_for

    @celery.task(name="tests.nameless", base=Nameless, shared=False)
    def nameless(password: str) -> None:
        """Nothing."""

    call = conceal(rule_for("tests.nameless"), [], {"password": "hush hush"})
    try:
        bad = [queued(beats, task=nameless.name, kwargs=json.dumps(call.kwargs), sealed=call.sealed())]
        errors = check(beats, bad, [queued(beats)])
    finally:
        celery.tasks.pop("tests.nameless")
    assert errors == ["Unsendable: its message cannot be made: LookupError"]


def test_a_handler_that_spoils_the_message(beats: Rig, redis: redis_client.Redis) -> None:
    def spoil(headers: dict[str, Any], body: Any, **_: Any) -> None:
        if body[0] == ["bad"]:
            headers["tenant"] = object()

    signals.before_task_publish.connect(spoil)
    try:
        check(beats, [queued(beats, args='["bad"]', age=20)], [queued(beats)])
    finally:
        signals.before_task_publish.disconnect(spoil)
    assert redis.llen(DEFAULT_QUEUE) == 1


def test_a_failure_budget_counts_it(beats: Rig, context: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    monkeypatch.setattr(failure_budgets, "enforce", lambda _, failed, _succeeded: looked.extend(failed))
    bad = queued(beats, args="no JSON")
    check(beats, [bad], [])
    assert looked == [bad]


def test_refused_request_delays_no_other_run(beats: Rig, redis: redis_client.Redis) -> None:
    """Something else than a message goes wrong in the thread that sends."""
    publisher = Publisher(celery, beats.engine, lambda: True)
    redis.hset("a-hash", "a", "b")
    publisher.call(lambda sender: sender.redis().get("a-hash"))
    publisher.call(lambda sender: sender.no_such_thing())  # type: ignore[attr-defined]
    depths: list[int] = []
    publisher.call(lambda sender: depths.append(sender.depth("a-hash")))
    wait_for(lambda: publisher.idle, message="it was not done")
    assert (publisher.broker_away, depths) == (False, [1])
    publisher.close(5)
