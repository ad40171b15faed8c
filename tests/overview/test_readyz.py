"""`/readyz`: 200 only if everything that a run needs is available, and never slow."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
import redis as redis_client
import sqlalchemy as sa
from flask import Flask

from tests.outages import away
from tests.workers.test_pages import make_worker
from webapp import create_app
from webapp.config import Settings
from webapp.database.engine import now
from webapp.extensions import db
from webapp.recorder.recorder import PRESENCE_KEY
from webapp.schedule_store.beat_models import Beat

ALL = {"database": "ok", "redis": "ok", "broker": "ok", "beat": "ok", "recorder": "ok", "worker": "ok"}


def everything_is_there(redis: redis_client.Redis, *, beat_age: float = 0.0, leading: bool = True) -> None:
    make_worker("w1")
    seen = now() - timedelta(seconds=beat_age)
    db.session.execute(sa.insert(Beat).values(id="b", host="h", pid=1, leading=leading, seen_at=seen))
    db.session.commit()
    redis.set(PRESENCE_KEY.format(name="h:1"), "1", ex=10)


def test_it_is_ready_when_everything_is_there(context: Flask, redis: redis_client.Redis) -> None:
    everything_is_there(redis)
    answer = context.test_client().get("/readyz")
    assert (answer.status_code, answer.get_json()) == (200, {"status": "ok", "checks": ALL})


def test_it_names_who_is_missing(context: Flask) -> None:
    answer = context.test_client().get("/readyz")
    assert answer.status_code == 503
    assert answer.get_json() == {
        "status": "unavailable",
        "checks": ALL | {"beat": "none is the leader", "recorder": "none is online", "worker": "none is online"},
    }


@pytest.mark.parametrize(("age", "leading"), [(60.0, True), (0.0, False)])
def test_beat_that_is_silent_or_follows_is_not_enough(
    context: Flask, redis: redis_client.Redis, age: float, leading: bool
) -> None:
    everything_is_there(redis, beat_age=age, leading=leading)
    answer = context.test_client().get("/readyz")
    assert answer.status_code == 503
    assert answer.get_json()["checks"] == ALL | {"beat": "none is the leader"}


def test_it_reports_broker_and_redis_down(settings: Settings, redis: redis_client.Redis) -> None:
    with away(settings, redis=True) as app:
        everything_is_there(redis)
        began = time.monotonic()
        checks = app.test_client().get("/readyz").get_json()["checks"]
        assert time.monotonic() - began < 4
        silent = {"broker": "does not answer", "redis": "does not answer", "recorder": "unknown"}
        assert checks == ALL | silent


@pytest.fixture
def mute_port() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_servers_that_never_answer_do_not_hold_it_up(settings: Settings, mute_port: int) -> None:
    mute = f"127.0.0.1:{mute_port}"
    app = create_app(
        settings.with_changes(
            database_url=f"postgresql+psycopg://x@{mute}/x",
            redis_url=f"redis://{mute}/0",
            broker_url=f"redis://{mute}/0",
        )
    )
    began = time.monotonic()
    answer = app.test_client().get("/readyz")
    assert time.monotonic() - began < 4
    assert answer.status_code == 503
    assert answer.get_json()["checks"]["database"] == "does not answer"
    assert set(answer.get_json()["checks"].values()) == {"does not answer", "unknown"}
