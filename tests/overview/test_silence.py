"""Servers that accept connections and hang: pages still answer, beat continues, and everything recovers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import pytest
import redis as redis_client
import sqlalchemy as sa
from flask import Flask

from tests import servers
from tests.outages import forget_connections
from tests.people.test_registering import FIELDS
from tests.proxy import Proxy, proxy
from tests.scheduler.beats import FakeTime, rig
from tests.servers import wait_for
from tests.visitors import Visitor
from webapp import create_app
from webapp.config import Settings
from webapp.extensions import db, limiter
from webapp.messaging import broker

BOUND = 5.0


@contextmanager
def bounded(seconds: float = BOUND) -> Iterator[None]:
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < seconds


@pytest.fixture
def way(redis: redis_client.Redis, valkey_url: str) -> Iterator[Proxy]:
    """The way to Valkey, which is Redis and broker."""
    with proxy(int(urlsplit(valkey_url).port or 0)) as made:
        yield made


@pytest.fixture
def settings(database_url: str, settings: Settings, way: Proxy) -> Settings:
    url = f"redis://127.0.0.1:{way.port}/0"
    return settings.with_changes(redis_url=url, broker_url=url)


@pytest.fixture
def quiet(app: Flask, way: Proxy) -> Iterator[Proxy]:
    """Application and way, with nothing of this test kept for the next one."""
    forget_connections()
    yield way
    limiter._storage_dead = False
    forget_connections()


def test_pages_answer_while_redis_and_broker_are_silent(app: Flask, quiet: Proxy) -> None:
    operator, stranger = Visitor(app, "operator"), Visitor(app)
    assert operator.post("/add-numbers/", {"num1": 1, "num2": 2}).status_code == 303
    quiet.block()
    for path in ("/", "/runs", "/schedules", "/workers", "/healthz"):
        with bounded(2):
            assert operator.get(path).status_code == 200
    with bounded():
        assert operator.post("/add-numbers/", {"num1": 1, "num2": 2}).status_code == 303
    broker.breaker.reset()
    with bounded():
        assert "The broker does not answer" in operator.get("/queues").text
    broker.breaker.reset()
    with bounded():
        assert stranger.post("/register", FIELDS).status_code == 303
    with bounded(4):
        assert operator.get("/readyz").status_code == 503
    with bounded(2):
        page = operator.get("/runs").text
    assert "Redis does not answer." in page
    assert "The broker does not answer." in page
    quiet.open()
    broker.breaker.reset()
    with bounded(2):
        assert operator.post("/add-numbers/", {"num1": 1, "num2": 2}).status_code == 303
    with app.app_context():
        assert _sent() == [True, False, False, True]


def _sent() -> list[bool]:
    with db.engine.connect() as connection:
        return [bool(sent) for (sent,) in connection.execute(sa.text("SELECT sent_at FROM runs ORDER BY created_at"))]


def test_beat_goes_on_while_redis_and_broker_are_silent(app: Flask, quiet: Proxy) -> None:
    url = app.config["SQLALCHEMY_DATABASE_URI"]
    with rig(url) as beats:
        made = beats.interval("i", 1, saved=datetime.now(UTC))
        time_ = FakeTime(datetime.now(UTC))
        core = beats.leading(time_)
        quiet.block()
        for _ in range(4):
            time_.pass_by(1)
            with bounded(1):
                core.step(woken=True)
        assert len(beats.runs(made)) >= 3
        wait_for(lambda: core.publisher.broker_away)
        quiet.open()

        def sent() -> bool:
            core.step(woken=True)
            time_.pass_by(1)
            beats.execute("UPDATE celery_periodictask SET enabled = false")
            return all(run.sent_at for run in beats.runs())

        wait_for(sent, seconds=10)


def test_pages_show_that_postgresql_hangs(
    databases: servers.Databases, settings: Settings, redis: redis_client.Redis
) -> None:
    parts = urlsplit(databases.postgresql())
    socket = f"{parse_qs(parts.query)['host'][0]}/.s.PGSQL.5432"
    with proxy(socket) as way:
        through = parts._replace(netloc=f"postgres@127.0.0.1:{way.port}", query="").geturl()
        app = create_app(settings.with_changes(database_url=through))
        viewer = Visitor(app, "viewer")
        assert viewer.get("/runs").status_code == 200
        way.block()
        for _ in range(2):
            with bounded(4):
                assert viewer.get("/runs").status_code == 503

        def said() -> str:
            # What a page that is open asks for; by and by it needs no answer of the database.
            with bounded(4.5):
                return viewer.get("/health", htmx=True).text

        wait_for(lambda: "The database does not answer." in said())
        with bounded(1.2):
            assert "No answer since" in said()
        way.open()
        with bounded(2):
            assert viewer.get("/runs").status_code == 200
        wait_for(lambda: "database" not in said())
        with app.app_context():
            db.engine.dispose()
