"""A run to a queue that is not guarded is published at most once, whatever breaks, by pages and by beat."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import redis as redis_client
from celery import signals
from flask import Flask

from tests.outages import away, forget_connections
from tests.proxy import Proxy, proxy
from tests.scheduler.beats import FakeTime, rig
from tests.servers import wait_for
from tests.support import fresh
from webapp.config import Settings
from webapp.extensions import celery, db
from webapp.messaging.producers import NotNow
from webapp.run_store import message
from webapp.run_store.creation import create_run
from webapp.run_store.models import Run
from webapp.run_store.states import Origin, RunState
from webapp.runs import service
from webapp.scheduler.sending.messages import Sender

pytestmark = pytest.mark.each_database


@pytest.fixture
def way(valkey_url: str) -> Iterator[Proxy]:
    """The way to the broker."""
    with proxy(int(valkey_url.rsplit(":", 1)[1].partition("/")[0])) as made:
        yield made


@pytest.fixture
def settings(settings: Settings, way: Proxy) -> Settings:
    forget_connections()
    return settings.with_changes(broker_url=f"redis://127.0.0.1:{way.port}/0")


def made(count: int = 1) -> list[Run]:
    runs = [create_run(db.session, "add", [1, number], origin=Origin.LAUNCH, queue="shop") for number in range(count)]
    db.session.commit()
    return runs


def sendings(runs: list[Run]) -> list[tuple[str, bool, int]]:
    found = [fresh(Run, run.id) for run in runs]
    return [(run.state, run.sent_at is not None, run.sends) for run in found]


SENT, UNSENT = (RunState.QUEUED, True, 1), (RunState.QUEUED, False, 0)


def test_a_broker_that_is_away_leaves_it_to_beat(settings: Settings) -> None:
    with away(settings):
        runs = made(2)
        service.send_runs(runs)
        assert sendings(runs) == [UNSENT, UNSENT]


def test_a_connection_that_ended_while_it_was_idle_costs_nothing(
    context: Flask, way: Proxy, redis: redis_client.Redis
) -> None:
    for cut in (False, True):
        if cut:
            way.cut()
        runs = made()
        service.send_runs(runs)
        assert sendings(runs) == [SENT]
    assert redis.llen("shop") == 2


@pytest.mark.parametrize(
    ("breaks", "expected", "messages"),
    [
        # Noticed before anything is written.
        ("cut", [SENT, SENT, SENT], 3),
        ("close", [UNSENT, UNSENT, UNSENT], 0),
        # It is unknown whether it was accepted.
        ("block", [SENT, UNSENT, UNSENT], 0),
    ],
)
def test_what_is_in_doubt_counts_as_sent_and_the_rest_does_not(  # noqa: PLR0917 - fixtures and the case
    context: Flask,
    way: Proxy,
    redis: redis_client.Redis,
    breaks: str,
    expected: list[tuple[str, bool, int]],
    messages: int,
) -> None:
    def break_it(**_: Any) -> None:
        signals.before_task_publish.disconnect(break_it)
        getattr(way, breaks)()

    runs = made(3)
    signals.before_task_publish.connect(break_it)
    service.send_runs(runs)
    assert sendings(runs) == expected
    way.open()
    assert redis.llen("shop") == messages


def test_a_message_that_the_broker_refuses_is_not_sent(context: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise NotNow("its queue is full")

    monkeypatch.setattr(message, "send", refuse)
    runs = made(2)
    service.send_runs(runs)
    assert sendings(runs) == [UNSENT, UNSENT]


def test_beat_publishes_it_once_though_no_answer_came(
    app: Flask, context: Flask, redis: redis_client.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    push = Sender._push

    def push_without_an_answer(self: Sender, *given: Any) -> None:
        push(self, *given)
        raise redis_client.TimeoutError

    monkeypatch.setattr(Sender, "_push", push_without_an_answer)
    celery.conf.beat_schedule = {}
    with rig(app.config["SQLALCHEMY_DATABASE_URI"]) as beats:
        time = FakeTime(datetime.now(UTC))
        core = beats.leading(time)
        runs = made(3)
        beats.execute("UPDATE runs SET created_at = '2026-01-01 00:00:00.000000'")
        for _ in range(4):
            wait_for(lambda: core.publisher.idle)
            core.step(woken=True)
            wait_for(lambda: core.publisher.idle)
            time.pass_by(60)
        assert sendings(runs) == [SENT] * 3
        assert redis.llen("shop") == 3
