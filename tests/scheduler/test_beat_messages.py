"""The fast path's messages equal Celery's own, field by field; what it cannot carry goes through Celery."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis as redis_client
from celery import signals
from flask import Flask
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from beatdesk.secrecy.masking import Rule, conceal
from webapp.extensions import celery, db
from webapp.run_store import message
from webapp.run_store.statements import Sendable
from webapp.scheduler.sending import messages
from webapp.scheduler.sending.messages import Sender
from webapp.task_catalogue import announced
from webapp.task_catalogue.registry import forget_announced

RUN = Sendable("0b0e7d1c-6f0c-8d4e-9a55-2f9f7c1f2a10", "add", "[1, 2]", "{}", None, None, None, None)
IN_AN_HOUR = datetime.now(UTC).replace(microsecond=123456) + timedelta(hours=1)


@pytest.fixture
def sender(app: Flask) -> Iterator[Sender]:
    celery.loader.import_default_modules()
    made = Sender(celery)
    yield made
    made.close()


def _taken(redis: redis_client.Redis) -> dict[str, Any]:
    """The one message in the broker, with the list it lies in."""
    lists = [key for key in redis.scan_iter() if not key.startswith(("_kombu", "beatdesk:"))]
    assert len(lists) == 1
    raw = redis.rpop(lists[0])
    assert isinstance(raw, str)
    taken: dict[str, Any] = json.loads(raw)
    taken["body"] = json.loads(b64decode(taken["body"]))
    return {"list": lists[0], "order": list(taken), **taken}


def _send(sender: Sender, *runs: Sendable) -> list[str]:
    sent: list[str] = []
    sender.send(runs, lambda: True, sent)
    return sent


def _both(sender: Sender, redis: redis_client.Redis, run: Sendable) -> tuple[dict[str, Any], dict[str, Any]]:
    """The message by the fast path and by Celery, each without what must differ."""
    assert sender._template(run) is not None
    assert _send(sender, run) == [run.id]
    fast = _taken(redis)
    message.send(celery, sender._open(), run)
    slow = _taken(redis)
    for taken in fast, slow:
        assert len(taken["properties"].pop("delivery_tag")) == 36
    # The milliseconds that are left when it is made, one a moment after the other.
    left = [int(taken["properties"].pop("expiration", "-1")) for taken in (fast, slow)]
    assert left[0] - 10_000 < left[1] <= left[0]
    assert (left[0] == -1) == (left[1] == -1)
    return fast, slow


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"args": "[]"}, id="no arguments"),
        pytest.param(
            {"args": '["é", null, {"a": [1.5, true]}]', "kwargs": '{"b": "x\\"y", "c": {}}'}, id="every JSON type"
        ),
        pytest.param({"args": json.dumps(["x" * 3000, list(range(500))])}, id="long arguments"),
        pytest.param({"queue": "slow"}, id="queue"),
        pytest.param({"priority": 0}, id="lowest priority"),
        pytest.param({"priority": 5}, id="priority"),
        pytest.param({"queue": "slow", "priority": 9, "expires_at": IN_AN_HOUR}, id="queue, priority and expiry"),
        pytest.param({"expires_at": IN_AN_HOUR}, id="expiry"),
        pytest.param({"expires_at": IN_AN_HOUR - timedelta(hours=2)}, id="expired"),
        pytest.param({"options": '{"headers": {"tenant": "a", "n": 1}}'}, id="headers"),
    ],
)
def test_equal_to_celerys_own(sender: Sender, redis: redis_client.Redis, change: dict[str, Any]) -> None:
    fast, slow = _both(sender, redis, RUN._replace(**change))
    assert fast == slow
    assert fast["headers"]["id"] == fast["headers"]["root_id"] == fast["properties"]["correlation_id"] == RUN.id
    assert fast["headers"]["timelimit"] == [None, None]


@pytest.mark.parametrize("change", [{}, {"queue": "slow", "priority": 3}, {"expires_at": IN_AN_HOUR}], ids=list)
@pytest.mark.usefixtures("context")
def test_tasks_of_other_projects_too(sender: Sender, redis: redis_client.Redis, change: dict[str, Any]) -> None:
    theirs = RUN._replace(task="bakery.note", **change)

    def consume(queue: str) -> None:
        with db.engine.begin() as connection:
            announced.keep(connection, {"celery@bakery": ["bakery.note"]}, {"celery@bakery": queue}, datetime.now(UTC))
        forget_announced()

    consume("shop")
    fast, slow = _both(sender, redis, theirs)
    assert fast == slow
    assert fast["list"].partition("\x06")[0] == change.get("queue", "shop")
    # Their worker was started again with another queue.
    consume("orders")
    assert _both(sender, redis, theirs)[0]["list"].partition("\x06")[0] == change.get("queue", "orders")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(args=st.lists(JSON, max_size=3), kwargs=st.dictionaries(st.text(), JSON, max_size=3))
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_any_arguments(sender: Sender, redis: redis_client.Redis, args: list[Any], kwargs: dict[str, Any]) -> None:
    # A run with secrets is sealed before it is sent, and never takes the fast path.
    assume(not conceal(Rule(), args, kwargs).any)
    fast, slow = _both(sender, redis, RUN._replace(args=json.dumps(args), kwargs=json.dumps(kwargs)))
    assert fast == slow


@pytest.mark.parametrize(
    "change",
    [
        {"attempt": 2},
        {"parent_id": "parent", "root_id": "root"},
        {"options": '{"exchange": "other", "routing_key": "key"}'},
        {"options": '{"routing_key": "key"}'},
        {"task": "tests.unknown"},
    ],
    ids=str,
)
def test_what_it_cannot_carry_goes_through_celery(sender: Sender, change: dict[str, Any]) -> None:
    assert sender._template(RUN._replace(**change)) is None


def test_message_names_retries_and_parents(sender: Sender, redis: redis_client.Redis) -> None:
    assert _send(sender, RUN._replace(attempt=2, parent_id="parent", root_id="root")) == [RUN.id]
    headers = _taken(redis)["headers"]
    assert (headers["retries"], headers["parent_id"], headers["root_id"]) == (2, "parent", "root")


def test_a_router_or_a_listener_is_respected(sender: Sender, redis: redis_client.Redis) -> None:
    heard = []

    def listen(sender: Any = None, headers: Any = None, **_: Any) -> None:
        heard.append(headers["id"])

    signals.before_task_publish.connect(listen)
    try:
        assert _send(sender, RUN) == [RUN.id]
    finally:
        signals.before_task_publish.disconnect(listen)
    assert heard == [RUN.id]
    assert _taken(redis)["list"] == "beatdesk"


def test_a_batch_is_pushed_in_order_and_counted(
    sender: Sender, redis: redis_client.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messages, "PUSH", 3)
    runs = [RUN._replace(id=f"{number:036}", queue="a" if number % 2 else "b") for number in range(20)]
    assert sorted(_send(sender, *runs)) == [run.id for run in runs]
    for name in "ab":
        ids = [json.loads(raw)["headers"]["id"] for raw in redis.lrange(name, 0, -1)]
        assert ids == sorted(ids, reverse=True)
        assert len(ids) == 10
    tags = {json.loads(raw)["properties"]["delivery_tag"] for name in "ab" for raw in redis.lrange(name, 0, -1)}
    assert len(tags) == 20


def test_nothing_is_published_once_it_may_not(sender: Sender, redis: redis_client.Redis) -> None:
    sent: list[str] = []
    sender.send([RUN, RUN._replace(attempt=1)], lambda: False, sent)
    assert sent == []
    assert redis.llen("beatdesk") == 0


def test_depth_and_queue(sender: Sender, redis: redis_client.Redis) -> None:
    assert sender.queue_of(RUN) == "beatdesk"
    assert sender.queue_of(RUN._replace(queue="slow")) == "slow"
    assert sender.queue_of(RUN._replace(options='{"exchange": "e", "routing_key": "k"}')) is None
    # One without the other decides nothing.
    assert sender.queue_of(RUN._replace(queue="slow", options='{"exchange": "e"}')) == "slow"
    assert sender.queue_of(RUN._replace(options='{"routing_key": "k"}')) == "beatdesk"
    assert sender.depth("slow") == 0
    _send(sender, RUN._replace(queue="slow"), RUN._replace(queue="slow", priority=6))
    assert sender.depth("slow") == 2
