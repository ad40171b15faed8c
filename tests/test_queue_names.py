"""A queue never has a name that the broker or Celery reserves, wherever it is named."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
import redis as redis_client
import sqlalchemy as sa
from celery.backends.base import KeyValueStoreBackend
from flask import Flask
from flask.testing import FlaskCliRunner
from kombu.pidbox import Mailbox
from kombu.transport.redis import Channel

from tests.runs.making import make_run
from tests.scheduler.beats import FakeTime, Rig, drive
from tests.servers import wait_for
from tests.support import fresh, reading
from tests.visitors import Visitor
from webapp.config import ConfigError, Settings
from webapp.database.engine import now
from webapp.extensions import celery, db
from webapp.messaging import broker
from webapp.queue_names import refusal, target_refusal
from webapp.run_store.models import Run
from webapp.run_store.states import RunState
from webapp.runs import control
from webapp.schedules import service as schedules

pytestmark = pytest.mark.each_database

RESERVED = "unacked_index"
SAID = "“unacked_index” cannot be used as a queue"


def test_every_key_that_kombu_and_celery_make_is_reserved() -> None:
    keys = [Channel.unacked_key, Channel.unacked_index_key, Channel.unacked_mutex_key]
    keys += [Channel.keyprefix_queue % "celery", Channel.keyprefix_binding_deadlines]
    keys += [Channel.keyprefix_binding_permanent % "celery"]
    keys += [f"shop_{key}" for key in keys]  # with a `global_keyprefix`
    mailbox = Mailbox("celery", type="fanout", connection=None)
    keys += [mailbox.exchange.name, mailbox.reply_exchange.name, mailbox.reply_queue.name, "host.celery.pidbox"]
    keys += [celery.conf.event_exchange, f"{celery.conf.event_queue_prefix}.0b0e7d1c", "shop.pidbox"]
    results = KeyValueStoreBackend
    for prefix in (results.task_keyprefix, results.group_keyprefix, results.chord_keyprefix):
        text = prefix if isinstance(prefix, str) else prefix.decode()
        keys += [f"{text}0b0e7d1c", f"{text}0b0e7d1c.j"]
    keys += ["amq.direct", "amq.rabbitmq.reply-to", "amq.gen-1", "celery_delayed_27"]
    assert [key for key in keys if refusal(key) is None] == []


@pytest.mark.parametrize("name", ["", " a", "a b", "a\n", "a:b", "a/b", "ä", "a\x06\x163", "x" * 129, "beatdesk:runs"])
def test_other_characters_are_refused(name: str) -> None:
    assert "1 to 128 characters" in str(refusal(name))


@pytest.mark.parametrize(
    "name", ["celery", "beatdesk", "a", "A-1_b.c", "x" * 128, "unacked_reports", "pidboxes", "amq"]
)
def test_what_people_call_their_queues_is_not_refused(name: str) -> None:
    assert refusal(name) is None


def test_an_exchange_that_every_rabbitmq_has_may_be_used() -> None:
    assert target_refusal(None, "amq.topic", "video.encode") is None
    assert target_refusal(None, "celery.pidbox", "") is not None


@pytest.mark.parametrize("value", [RESERVED, "beatdesk,a b", "beatdesk,_kombu.binding.x", ","])
def test_worker_queues_is_refused_in_one_line(value: str) -> None:
    with pytest.raises(ConfigError, match=r"^WORKER_QUEUES ") as raised:
        Settings.from_env({"SECRET_KEY": "0123456789abcdef", "WORKER_QUEUES": value})
    assert "\n" not in str(raised.value)
    assert Settings.from_env({"SECRET_KEY": "0123456789abcdef", "WORKER_QUEUES": "a, b,a"}).worker_queues == ("a", "b")


def test_each_place_that_names_a_queue_refuses_it(context: Flask, runner: FlaskCliRunner) -> None:
    operator, scheduler = Visitor(context, "operator"), Visitor(context, "scheduler")
    form = {"task": "add", "arg.num1": "1", "arg.num2": "2", "queue": RESERVED}
    assert SAID in operator.post("/runs/new", form).text
    assert SAID in operator.post("/runs/new", form, accept="application/json").get_json()["fields"]["queue"]
    old = make_run(RunState.FAILED, args="[1, 2]", queue=RESERVED)
    retried = operator.post(f"/runs/{old}/retry", accept="application/json")
    assert SAID in retried.get_json()["fields"]["queue"]
    made = {"name": "Sums", "task": "add", "kind": "interval", "every": 1, "period": "days", "args": "[1, 2]"}
    refused = scheduler.post_json("/schedules", {**made, "queue": RESERVED})
    assert SAID in refused.get_json()["fields"]["queue"]
    assert SAID in scheduler.post("/schedules", {**made, "queue": RESERVED}).text
    source = f"beat_schedule = {{'a': {{'task': 'add', 'schedule': 60, 'options': {{'queue': '{RESERVED}'}}}}}}"
    assert SAID in scheduler.post("/schedules/import", {"file": source}).text
    called = runner.invoke(args=["runs", "launch", "add", "--args", "[1, 2]", "--queue", RESERVED])
    assert SAID in called.output
    assert called.exit_code == 1
    assert db.session.scalars(sa.select(Run.id)).all() == [old]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"queue": RESERVED}, SAID),
        ({"queue": "a b"}, "1 to 128 characters"),
        ({"exchange": "celeryev", "routing_key": "x"}, "“celeryev” cannot be used as an exchange"),
        ({"exchange": "shop", "routing_key": "unacked"}, "“unacked” cannot be used as a routing key"),
    ],
)
def test_an_adopted_row_is_broken_by_itself_for_beat_and_pages(
    context: Flask, beats: Rig, given: dict[str, Any], said: str
) -> None:
    begin = now() - timedelta(hours=1)
    bad, good = beats.interval("bad", 60, saved=begin, **given), beats.interval("good", 60, saved=begin)
    scheduler = Visitor(context, "scheduler")
    with reading():
        assert said in str(schedules.get(bad).problem)
    time = FakeTime(begin)
    drive(beats.leading(time), time, begin + timedelta(seconds=60))
    assert said in beats.progress(bad).broken
    assert beats.runs(bad) == []
    assert len(beats.runs(good)) == 1
    assert said.replace("“", "") in scheduler.get(f"/schedules/{bad}").text.replace("“", "")
    assert scheduler.post(f"/schedules/{bad}/run", accept="application/json").status_code == 409


def test_a_run_that_sql_wrote_fails_before_it_is_published(
    context: Flask, beats: Rig, redis: redis_client.Redis
) -> None:
    options = [None, json.dumps({"exchange": "celery.pidbox", "routing_key": "x"})]
    bad = [make_run(RunState.QUEUED, args="[1, 2]", queue=RESERVED, age=9)]
    bad += [make_run(RunState.QUEUED, args="[1, 2]", options=each, queue="unacked", age=9) for each in options]
    good = make_run(RunState.QUEUED, args="[1, 2]", age=9)
    core = beats.beat()

    def sent() -> bool:
        core.step(woken=True)
        return fresh(Run, good).sent_at is not None and all(fresh(Run, run).ended for run in bad)

    wait_for(sent)
    for run in bad:
        assert fresh(Run, run).state == RunState.FAILED
        assert "cannot be used as a" in str(fresh(Run, run).error)
    assert not core.publisher.broker_away
    assert redis.llen("beatdesk") == 1
    assert [key for key in redis.scan_iter() if "unacked" in key] == []


def test_a_task_whose_own_queue_is_reserved_fails_alone(
    context: Flask, redis: redis_client.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    celery.loader.import_default_modules()
    task = celery.tasks["runs.retain"]
    monkeypatch.setattr(task, "queue", RESERVED, raising=False)
    # Celery looks once.
    monkeypatch.setattr(task, "_exec_options", None)
    bad, good = control.launch("runs.retain").id, control.launch("add", [1, 2]).id
    assert SAID in str(fresh(Run, bad).error)
    assert fresh(Run, good).sent_at is not None
    assert not broker.breaker.tripped
    assert redis.exists(RESERVED) == 0
