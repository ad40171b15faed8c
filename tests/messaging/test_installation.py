"""Two installations never share a Redis database or a broker: a process that finds another's mark stops."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import redis as redis_client
from flask import Flask
from flask.testing import FlaskCliRunner

from beatdesk.execution.emitter import emit
from beatdesk.execution.events import Event
from tests.runs.making import make_run
from tests.servers import INSTALLATION
from tests.support import fresh
from tests.visitors import Visitor
from webapp.config import Settings
from webapp.extensions import celery, db
from webapp.messaging import broker, installation, producers
from webapp.messaging.installation import KEY, OtherInstallation
from webapp.overview import health
from webapp.recorder.recorder import Recorder
from webapp.run_store.models import Run
from webapp.run_store.states import RunState
from webapp.runs import control

pytestmark = pytest.mark.each_database


def test_the_mark_is_put_back(context: Flask, settings: Settings, redis: redis_client.Redis) -> None:
    recorder = Recorder(db.engine, settings.redis_url)
    recorder.step()
    assert redis.get(KEY) == INSTALLATION
    redis.flushall()
    recorder._next_presence = 0.0
    recorder.step()
    assert redis.get(KEY) == INSTALLATION
    redis.set(KEY, "another")
    recorder._next_presence = 0.0
    with pytest.raises(SystemExit, match="belongs to another installation"):
        recorder.run()


def test_a_page_sends_nothing_there(context: Flask, redis: redis_client.Redis) -> None:
    redis.set(KEY, "another")
    run = control.launch("add", [1, 2])
    assert (fresh(Run, run.id).state, fresh(Run, run.id).sent_at) == (RunState.QUEUED, None)
    assert broker.try_redis(lambda redis: redis.publish("channel", "text")) is None
    assert redis.keys("*") == [KEY]
    assert Visitor(context, "operator").get(f"/runs/{run.id}").status_code == 200
    assert health.monitor().health().checks["redis"] == "belongs to another installation"
    with pytest.raises(OtherInstallation):
        broker.client().ping()


def test_a_worker_records_the_end_elsewhere(context: Flask, redis: redis_client.Redis) -> None:
    """Its Redis was put in the place of another one: what has ended is written to the database."""
    run_id = make_run(RunState.STARTED)
    redis.set(KEY, "another")
    emit(SimpleNamespace(id=run_id, retries=0, hostname="w@h", task="add"), Event.FAILED, "ValueError: x")
    assert fresh(Run, run_id).state == RunState.FAILED
    assert redis.keys("*") == [KEY]


def test_a_broker_in_another_database(
    context: Flask, settings: Settings, valkey_url: str, redis: redis_client.Redis, runner: FlaskCliRunner
) -> None:
    """Both are marked; an installation that replaces another one takes both over."""
    second = f"{valkey_url.rsplit('/', 1)[0]}/2"
    celery.conf.broker_url = second
    with redis_client.Redis.from_url(second, decode_responses=True) as client:
        producers.drop(producers.connect(celery))
        assert client.get(KEY) == INSTALLATION
        client.set(KEY, "another")
        redis.set(KEY, "yet another")
        with pytest.raises(OtherInstallation, match="/2 belongs to another"):
            producers.connect(celery)
        assert "belongs to another" in str(runner.invoke(args=["installation", "check"]).exception)
        assert runner.invoke(args=["installation", "take-over"]).exit_code == 0
        assert (client.get(KEY), redis.get(KEY)) == (INSTALLATION, INSTALLATION)
    assert INSTALLATION in runner.invoke(args=["installation", "check"]).output


def test_password_is_not_shown() -> None:
    assert installation.without_password("rediss://user:pa@ss@host:6379/3") == "rediss://host:6379/3"
