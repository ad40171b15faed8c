"""Where messages go: a stock Celery, our publisher and pages agree."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import product

import pytest
import redis as redis_client
from celery import Celery
from flask import Flask
from kombu import Exchange, Queue

from webapp.extensions import celery, db
from webapp.run_store import message, sending
from webapp.run_store.creation import create_run
from webapp.run_store.message import Destination
from webapp.run_store.states import Origin

QUEUES = ("beatdesk", "slow", "bound", "celery", "events", "sums")
NAMED = list(product((None, "slow"), (None, "events", "elsewhere"), (None, "sums")))


@pytest.fixture
def stock(context: Flask) -> Iterator[Celery]:
    """A Celery without anything of ours, on the same broker; one queue is bound to an exchange there."""
    app = Celery("stock", broker=celery.conf.broker_url, set_as_current=False)
    app.conf.task_default_queue = "beatdesk"
    with app.connection_for_write() as connection:
        Queue("bound", Exchange("events"), "sums")(connection.default_channel).declare()
    yield app
    app.close()


def arrived(redis: redis_client.Redis) -> list[str]:
    """The queues that hold a message; they are emptied."""
    found = [name for name in QUEUES if redis.llen(name)]
    redis.delete(*QUEUES)
    return found


@pytest.mark.parametrize(("queue", "exchange", "routing_key"), NAMED)
def test_message_arrives_at_the_shown_destination(
    stock: Celery, redis: redis_client.Redis, queue: str | None, exchange: str | None, routing_key: str | None
) -> None:
    options = {"exchange": exchange, "routing_key": routing_key}
    aim = sending.destination_of("add", queue, exchange, routing_key)
    stock.send_task("add", [1, 2], queue=queue, **options)
    expected = sending.led_to(aim)
    assert arrived(redis) == expected
    given = json.dumps({name: value for name, value in options.items() if value})
    run = create_run(db.session, "add", [1, 2], origin=Origin.LAUNCH, queue=queue, options=given)
    db.session.commit()
    sent = sending.publish([run])
    assert (arrived(redis), bool(sent)) == (expected, bool(expected))
    assert sending.queue_of_run(run) == aim.queue


def test_what_a_task_or_a_route_names_counts_too(context: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(celery.tasks["add"], "exchange", "events", raising=False)
    assert sending.destination_of("add", None) == Destination("beatdesk", "", "beatdesk")
    assert sending.destination_of("add", "slow", None, "sums") == Destination(None, "events", "sums")
    monkeypatch.setattr(celery.tasks["add"], "routing_key", "own", raising=False)
    assert sending.destination_of("add", None) == Destination(None, "events", "own")
    assert sending.destination_of("add", None, "other") == Destination(None, "other", "own")
    assert message.destination(celery, "unknown.task", {"queue": "slow"}).queue == "slow"
