"""Shared fixtures: a real Valkey and PostgreSQL for the run, a fresh database and application for a test."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import redis as redis_client
from flask import Flask
from flask.testing import FlaskClient, FlaskCliRunner
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from kombu import pools
from playwright.sync_api import Browser

import webapp.worker_process.host  # noqa: F401  # what tests execute and emit goes through it
from beatdesk.execution import emitter
from tests import connections, servers
from tests.browser import server
from tests.compiled import CompiledRule, CompiledTemplates
from tests.reuse import Reused
from tests.scheduler.beats import Rig, rig
from tests.support import BufferedClient
from tests.visitors import Visitor
from webapp import create_app
from webapp.config import Settings
from webapp.extensions import celery, db
from webapp.messaging import broker

COMPILED = CompiledTemplates()
Flask.url_rule_class = CompiledRule

# How fast a machine is says nothing about what is tested.
hypothesis_settings.register_profile("any_speed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("any_speed")


# Modules with the longest tests. Of the slow ones each takes half a minute and more, most of which it waits.
LONGEST = (
    "test_odd_requests",
    "test_equal_times",
    "test_main_job",
    "test_short",
    "test_rabbitmq",
    "test_bootstrap",
    "test_pools",
    "test_outage",
    "test_trials",
    "test_projects",
    "test_side_by_side",
    "test_missing_queue",
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run tests with the mark `each_database` once on SQLite and once on PostgreSQL, if they use a database."""
    if "database_url" in metafunc.fixturenames and metafunc.definition.get_closest_marker("each_database"):
        metafunc.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests that drive a browser; put the longest ones first, so that no process waits for one at the end.

    Tests that drive a browser run apart: Playwright keeps an event loop running in this thread until it ends.
    """
    for item in items:
        if "chromium" in getattr(item, "fixturenames", ()):
            item.add_marker("browser")
    items.sort(key=lambda item: item.path.stem not in LONGEST)


def pytest_collection_finish() -> None:
    """Look for garbage less often, and not in what was imported: that took a quarter of the time of the tests."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown() -> Generator[None]:
    """Close what the test's fixtures have left open."""
    yield
    connections.close()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """One Chromium for the run; each test gets its own context in it."""
    with server.chromium() as started:
        yield started


@pytest.fixture(scope="session")
def valkey_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Valkey server for the whole run; see `redis` for one that is empty."""
    with servers.valkey(tmp_path_factory.mktemp("valkey")) as url:
        yield url


@pytest.fixture
def redis(valkey_url: str) -> Iterator[redis_client.Redis]:
    """The run's Valkey, emptied."""
    with redis_client.Redis.from_url(valkey_url, decode_responses=True) as client:
        client.flushall()
        yield client


@pytest.fixture(scope="session")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Databases]:
    """Makes migrated databases; PostgreSQL starts when the first test asks for it."""
    with ExitStack() as stack:
        start = cache(lambda: stack.enter_context(servers.postgres()))
        yield servers.Databases(tmp_path_factory.mktemp("databases"), start)


@pytest.fixture(scope="session")
def reused(databases: servers.Databases) -> Callable[[], Reused]:
    """The run's PostgreSQL database that `database_url` lends to one test after the other."""

    @cache
    def made() -> Reused:
        database = Reused(databases.postgresql())
        database.remember()
        return database

    return made


@pytest.fixture
def database_url(request: pytest.FixtureRequest, databases: servers.Databases, reused: Callable[[], Reused]) -> str:
    """A fresh, migrated database: SQLite, unless the mark `each_database` or a parameter says PostgreSQL."""
    if getattr(request, "param", "sqlite") == "sqlite":
        return databases.sqlite()
    reused().put_back()
    return reused().url


@pytest.fixture
def settings(database_url: str, valkey_url: str, redis: redis_client.Redis, tmp_path: Path) -> Settings:
    """Settings that point at this test's servers."""
    return servers.settings(database_url, valkey_url, data=tmp_path)


@pytest.fixture
def app(settings: Settings) -> Iterator[Flask]:
    """The application on a fresh database."""
    # A test without an application may have read some.
    _forget_results()
    made = create_app(settings)
    made.test_client_class = BufferedClient
    made.jinja_env.bytecode_cache = COMPILED
    yield made
    # Entries emitted later would go to the Redis of the next test.
    emitter.drain()
    for thread in threading.enumerate():
        if thread.name.startswith("health-"):
            # It looks at this test's servers.
            thread.join()
    # What runs and tasks that are sent again in this process were sent by.
    if "producers" in made.extensions:
        made.extensions["producers"].clear()
    # A broker that did not answer here is not the next test's.
    broker.breaker.reset()
    if celery._pool is not None:
        celery._pool.force_close_all()
        celery._pool = celery.amqp._producer_pool = None
        pools.reset()
    with made.app_context():
        db.session.remove()
        db.engine.dispose()
    _forget_results()
    # What asks for the application after this would open connections that nothing closes.
    del celery.flask_app


def _forget_results() -> None:
    """Celery keeps what it reads results with, and so the Redis of the test that read some first."""
    kept: Any = celery._backend
    if kept is not None:
        kept.result_consumer.stop()
        # A result that is collected later would subscribe with it once more.
        kept.result_consumer._pubsub = None
        del celery._local.backend


@pytest.fixture
def context(app: Flask) -> Iterator[Flask]:
    """The application with its context pushed, for tests of services."""
    with app.app_context():
        yield app
        db.session.remove()


@pytest.fixture
def beats(app: Flask) -> Iterator[Rig]:
    """Beats on the application's database, without the schedules that the code defines."""
    celery.conf.beat_schedule = {}
    with rig(app.config["SQLALCHEMY_DATABASE_URI"]) as made:
        yield made


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A browser without JavaScript and without a sign-in."""
    return app.test_client()


@pytest.fixture
def viewer(app: Flask) -> Visitor:
    """A signed-in person who reads every page."""
    return Visitor(app, "viewer")


@pytest.fixture
def operator(app: Flask) -> Visitor:
    """A signed-in person who launches, retries, cancels and pauses."""
    return Visitor(app, "operator")


@pytest.fixture
def scheduler(app: Flask) -> Visitor:
    """A signed-in person who edits schedules."""
    return Visitor(app, "scheduler")


@pytest.fixture
def admin(app: Flask) -> Visitor:
    """A signed-in person who may do everything."""
    return Visitor(app, "admin")


@pytest.fixture
def runner(app: Flask) -> FlaskCliRunner:
    """The command line."""
    return app.test_cli_runner()
