"""`flask leave` on Redis and the broker: all that Beatdesk left there goes, the rest stays."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import kombu
import pytest
import redis as redis_client
from flask import Flask
from flask.testing import FlaskCliRunner

from beatdesk.adopted.claims import WORKER_KEY, WORKERS_KEY
from tests import processes
from tests.adoption.foreign import Shop
from tests.leaving import contents
from tests.rabbitmq import rabbitmq, url
from tests.runs.making import make_run
from tests.servers import wait_for
from tests.support import fresh
from tests.visitors import Visitor
from webapp.config import Settings
from webapp.database.engine import now
from webapp.extensions import db
from webapp.messaging.installation import EXCHANGE, KEY
from webapp.recorder import event_reader
from webapp.run_store.models import Run
from webapp.run_store.states import RunState
from webapp.run_store.worker_models import Worker
from webapp.runs import control

THEIR_QUEUES = ("celery", "shop")
OUR_QUEUES = ("beatdesk", "beatdesk.events")


@pytest.fixture(params=["redis", "rabbitmq"])
def broker_url(request: pytest.FixtureRequest, valkey_url: str, tmp_path: Path) -> Iterator[str]:
    """A broker without anything of Beatdesk's."""
    if request.param == "redis":
        yield valkey_url
        return
    with rabbitmq(tmp_path) as port:
        yield url(port)


@pytest.fixture
def settings(settings: Settings, broker_url: str) -> Settings:
    return settings.with_changes(broker_url=broker_url)


def depths(broker_url: str, names: tuple[str, ...]) -> dict[str, int]:
    """Messages of those queues that there are."""
    found = {}
    with kombu.Connection(broker_url) as connection:
        for name in names:
            try:
                found[name] = connection.channel().queue_declare(name, passive=True).message_count
            except connection.channel_errors:
                continue
    return found


def prepare(shop: Shop, redis: redis_client.Redis, valkey_url: str) -> None:
    """Messages that wait and keys, of the other project."""
    redis.mset({"theirs": "1", "LIMITS:LIMITER/127.0.0.1/theirs": "2", "beatdeskless": "3"})
    with redis_client.Redis.from_url(f"{valkey_url.rsplit('/', 1)[0]}/1") as results:
        results.set("celery-task-meta-0c2f5bd7-9f3b-4d0e-8f43-0a3a4b5c6d7e", "4")
        results.set("celery-task-meta-daily-report", "5")
    with shop.client() as app:
        for queue in THEIR_QUEUES:
            app.send_task("shop.note", ["waits"], queue=queue)


@pytest.mark.slow
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_rest_is_as_it_was(
    app: Flask, settings: Settings, redis: redis_client.Redis, runner: FlaskCliRunner, tmp_path: Path
) -> None:
    shop = Shop(settings.broker_url, tmp_path)
    prepare(shop, redis, settings.redis_url)
    before, waiting = contents.of_redis(settings.redis_url), depths(settings.broker_url, THEIR_QUEUES)
    use(app, settings, redis)
    shown = runner.invoke(args=["leave"]).output
    answer = runner.invoke(args=["leave", "--yes"])
    assert (answer.exit_code, "Removed." in answer.output) == (0, True), shown + answer.output
    assert contents.of_redis(settings.redis_url) == before
    assert depths(settings.broker_url, THEIR_QUEUES) == waiting == dict.fromkeys(THEIR_QUEUES, 1)
    assert depths(settings.broker_url, OUR_QUEUES) == {}
    if settings.broker_url.startswith("amqp"):
        with kombu.Connection(settings.broker_url) as connection, pytest.raises(connection.channel_errors):
            connection.channel().exchange_declare(EXCHANGE, "fanout", passive=True)
    assert "Nothing of Beatdesk is left" in runner.invoke(args=["leave"]).output


def use(app: Flask, settings: Settings, redis: redis_client.Redis) -> None:
    """Run every process of Beatdesk, and kill the worker and the observer while they work."""
    with app.app_context():
        Visitor(app, "admin").get("/runs")
        Visitor(app).post("/login", {"email": "a@example.com", "password": "wrong"})
    observer = processes.Process(settings, "observer", ["flask", "observer", "run"])
    with processes.recorder(settings), processes.running(processes.beat(settings)) as beat:
        with processes.running(observer), processes.worker(settings) as worker:
            wait_for(lambda: redis.exists(event_reader.LAST_READ), seconds=30)
            with app.app_context():
                ended = control.launch("add", [1, 2]).id
                wait_for(lambda: fresh(Run, ended).state == RunState.SUCCEEDED, seconds=30)
            refused = app.test_cli_runner().invoke(args=["leave", "--yes"])
            assert refused.exit_code == 1
            for name in ("worker worker@", "beat on", "recorder", "observer"):
                assert name in refused.output
            worker.kill()
            observer.kill()
        # It stays in its queue.
        with app.app_context():
            control.launch("add", [3, 4])
        beat.end()

    def stopped() -> bool:
        answer = app.test_cli_runner().invoke(args=["leave", "--json"])
        return not json.loads(answer.output)["alive"]

    wait_for(stopped, seconds=40, message="a process counts as alive")


@pytest.mark.parametrize("broker_url", ["redis"], indirect=True)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_another_installations_servers_are_left_alone(
    context: Flask, runner: FlaskCliRunner, redis: redis_client.Redis
) -> None:
    make_run()
    redis.set(KEY, "another")
    redis.set("beatdesk:runs", "theirs")
    answer = runner.invoke(args=["leave", "--yes"])
    assert (answer.exit_code, "belongs to another installation" in answer.output) == (1, True)
    assert redis.get("beatdesk:runs") == "theirs"
    assert runner.invoke(args=["runs", "list"]).output != ""


@pytest.mark.parametrize("broker_url", ["redis"], indirect=True)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_message_that_a_lost_worker_holds_does_not_come_back(
    context: Flask, runner: FlaskCliRunner, redis: redis_client.Redis
) -> None:
    theirs: dict[str, Any] = {"tag-2": json.dumps([{}, "", "celery"]), "tag-3": "not JSON"}
    redis.hset("unacked", mapping={"tag-1": json.dumps([{}, "", "beatdesk"]), **theirs})
    redis.zadd("unacked_index", {"tag-1": 1, "tag-2": 2, "tag-3": 3})
    redis.hset("beatdesk_unacked", "tag-4", json.dumps([{"properties": {}, "headers": {}}, "", "celery"]))
    redis.zadd("beatdesk_unacked_index", {"tag-4": 1})
    redis.lpush("beatdesk\x06\x163", "message of another priority")
    answer = json.loads(runner.invoke(args=["leave", "--yes", "--json"]).output)
    assert answer["broker"] == {"beatdesk": 2}
    assert redis.hgetall("unacked") == theirs
    assert redis.zrange("unacked_index", 0, -1) == ["tag-2", "tag-3"]
    # What our worker had of theirs is in its queue again.
    assert redis.llen("celery") == 1
    assert redis.keys("beatdesk*") == []


@pytest.mark.parametrize("broker_url", ["redis"], indirect=True)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_worker_that_is_no_longer_adopted_can_be_asked_afterwards(
    context: Flask, runner: FlaskCliRunner, redis: redis_client.Redis
) -> None:
    for worker_id, kind, name in (("1", Worker.ADOPTED, "shop@host"), ("2", Worker.OURS, "beatdesk@host")):
        gone = now() - timedelta(days=1)
        db.session.add(
            Worker(id=worker_id, kind=kind, name=name, host="host", pid=1, pool="solo", concurrency=1, seen_at=gone)
        )
    db.session.commit()
    theirs, ours = (f"\x06\x16\x06\x16{name}@host.celery.pidbox" for name in ("shop", "beatdesk"))
    redis.sadd("_kombu.binding.celery.pidbox", theirs, ours)
    assert runner.invoke(args=["leave", "--yes"]).exit_code == 0
    assert redis.smembers("_kombu.binding.celery.pidbox") == {theirs}


@pytest.mark.parametrize("broker_url", ["redis"], indirect=True)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_worker_that_is_still_adopted_is_alive_without_a_recorder(
    context: Flask, runner: FlaskCliRunner, redis: redis_client.Redis
) -> None:
    told = {"pid": 1, "name": "shop@host", "at": 1}
    redis.sadd(WORKERS_KEY, "1")
    redis.set(WORKER_KEY.format(worker_id="1"), json.dumps(told))
    refused = runner.invoke(args=["leave", "--yes"])
    assert (refused.exit_code, "adopted worker shop@host" in refused.output) == (1, True)
    redis.set(WORKER_KEY.format(worker_id="1"), json.dumps({**told, "stopped": True}))
    assert runner.invoke(args=["leave", "--yes"]).exit_code == 0
