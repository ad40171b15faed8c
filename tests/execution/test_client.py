"""What an adopted app's client processes send has its row before a worker receives it, and costs them no waiting."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import redis as redis_client
from celery import Celery, signals
from flask import Flask

from beatdesk import client
from beatdesk.execution import host
from beatdesk.execution.events import STREAM, Entry, Event
from tests.runs.making import record
from tests.servers import valkey, wait_for
from tests.support import fresh
from webapp.messaging import broker
from webapp.run_store.models import Run
from webapp.run_store.states import RunState


def ship(order: object, token: str = "") -> None:
    """A task of the other project."""


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> Iterator[Celery]:
    """Another project's app, adopted: Beatdesk's own would record what it sends itself."""
    app = Celery("shop", broker="memory://", set_as_current=False)
    app.task(ship, name="shop.ship", shared=False)
    monkeypatch.setattr(host, "_host", SimpleNamespace(app=app))
    yield app
    app.close()


@pytest.fixture
def installed(shop: Celery) -> Iterator[Callable[[Callable[[], redis_client.Redis]], client.Recorder]]:
    """Installs the recording of what the app sends, and takes it back at the end."""
    before = list(signals.before_task_publish.receivers), list(signals.after_task_publish.receivers)
    yield lambda factory: client.install(shop, factory)
    signals.before_task_publish.receivers[:], signals.after_task_publish.receivers[:] = before
    for each in (signals.before_task_publish, signals.after_task_publish):
        each.sender_receivers_cache.clear()


def entries(redis: redis_client.Redis) -> list[Entry]:
    return [Entry.parse(fields, str(entry_id)) for entry_id, fields in redis.xrange(STREAM)]


def test_what_a_client_sends_is_queued_before_a_worker_has_it(
    context: Flask, shop: Celery, redis: redis_client.Redis, installed: Callable[..., client.Recorder]
) -> None:
    installed(lambda: redis)
    order = {"id": 5}
    begun = datetime.now(UTC)
    sent = shop.tasks["shop.ship"].apply_async((order,), {"token": "hunter2"}, countdown=3600, queue="shipping")
    order["id"] = 6
    shop.send_task("elsewhere.task", ("a",), task_id="order-7")
    wait_for(lambda: len(entries(redis)) == 2)
    record(*entries(redis))
    run = fresh(Run, sent.id)
    # Never held: beat must not send what another program sends.
    assert (run.state, run.origin, run.task, run.queue) == (RunState.QUEUED, "program", "shop.ship", "shipping")
    assert (json.loads(run.args), json.loads(run.kwargs)) == ([{"id": 5}], {"token": "•••"})
    assert begun <= run.created_at <= datetime.now(UTC)
    assert run.eta is not None
    assert run.eta > begun + timedelta(minutes=59)
    other = fresh(Run, entries(redis)[1].run_id)
    assert (other.external_id, other.task, other.args) == ("order-7", "elsewhere.task", '["a"]')


def test_messages_of_other_apps_and_of_runs_are_left_alone(
    shop: Celery, redis: redis_client.Redis, installed: Callable[..., client.Recorder]
) -> None:
    recorder = installed(lambda: redis)
    other = Celery("other", broker="memory://", set_as_current=False)
    other.send_task("other.task")
    shop.send_task("shop.ship", (1,), task_id="01890000-0000-8000-8000-000000000000")
    mine = shop.send_task("shop.ship", (1,))
    assert recorder.flush()
    assert [entry.run_id for entry in entries(redis)] == [mine.id]


def test_redis_away_costs_nothing_and_what_is_too_much_is_counted(
    shop: Celery, tmp_path: Path, installed: Callable[..., client.Recorder], monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setattr(client, "MAX_WAITING", 5)
    monkeypatch.setattr(client, "RETRY", 0.1)
    with valkey(tmp_path) as url:
        redis = broker.connect(url, timeout=30.0)
        recorder = installed(lambda: redis)
        server = psutil.Process(redis.info("server")["process_id"])
        server.suspend()
        try:
            sent = [shop.send_task("shop.ship", (number,)).id for number in range(50)]
            # Redis hangs for longer than this test lasts, and the caller is here already.
            dropped = recorder.dropped
        finally:
            server.resume()
        assert dropped >= 40
        wait_for(lambda: len(entries(redis)) == 50 - dropped)
        assert {entry.run_id for entry in entries(redis)} <= set(sent)
        wait_for(lambda: f"{dropped} sent messages were not recorded" in caplog.text)


def test_what_redis_refuses_is_appended_later(
    shop: Celery, redis: redis_client.Redis, installed: Callable[..., client.Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "RETRY", 0.05)
    refusals = [redis_client.ConnectionError("away"), OSError("away")]

    def factory() -> redis_client.Redis:
        if refusals:
            raise refusals.pop()
        return redis

    installed(factory)
    sent = [shop.send_task("shop.ship", (number,)).id for number in range(3)]
    wait_for(lambda: [entry.run_id for entry in entries(redis)] == sent)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_copied_process_sends_its_own_only(
    shop: Celery, redis: redis_client.Redis, valkey_url: str, installed: Callable[..., client.Recorder]
) -> None:
    recorder = installed(lambda: broker.connect(valkey_url))
    with recorder._appending:
        shop.send_task("shop.ship", ("parent",))
        child = os.fork()
        if child == 0:
            # As a web server's process does: it sends, and is ended some time later.
            try:
                recorder.flush()
                shop.send_task("shop.ship", ("child",))
                time.sleep(30)
            finally:
                os._exit(1)
        try:
            wait_for(lambda: [entry.text.count("child") for entry in entries(redis)] == [1])
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    wait_for(lambda: len(entries(redis)) == 2)
    assert {entry.event for entry in entries(redis)} == {Event.PUBLISHED}
    assert "parent" in entries(redis)[1].text
