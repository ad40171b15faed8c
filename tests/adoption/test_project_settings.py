"""A project with settings of its own for Redis: Beatdesk follows them everywhere, and touches nothing else there."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import redis as redis_client
import sqlalchemy as sa
from flask import Flask

from beatdesk.execution.ids import id_of_task
from tests import processes
from tests.adoption.foreign import Shop
from tests.adoption.observers import observing, rows
from tests.scheduler.beats import FakeTime, Rig
from tests.servers import wait_for
from tests.support import fresh
from tests.visitors import Visitor
from webapp.config import ProjectSettings, Settings
from webapp.extensions import celery
from webapp.messaging import broker
from webapp.run_store.models import Run
from webapp.run_store.states import Origin, RunState
from webapp.runs import control
from webapp.scheduler.core import Core
from webapp.task_catalogue.registry import find_task, forget_announced

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("context")]

PREFIX = {"global_keyprefix": "shop:"}
# Steps and a separator of their own, as in kombu's documentation.
OPTIONS = {**PREFIX, "priority_steps": [0, 1, 2, 3, 4, 5], "sep": ":", "queue_order_strategy": "priority"}
CONF: dict[str, Any] = {
    "broker_transport_options": OPTIONS,
    "result_backend_transport_options": PREFIX,
    "task_default_queue": "parcels",
    "task_routes": {"shop.priv*": {"queue": "letters"}},
}


@pytest.fixture
def settings(settings: Settings, valkey_url: str, redis: redis_client.Redis) -> Settings:
    # A database of its own, so that each key in it can be looked at.
    address = f"{valkey_url.rpartition('/')[0]}/2"
    return settings.with_changes(broker_url=address, project=ProjectSettings(**CONF))


@pytest.fixture
def shop(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    # Where this process has imported its tasks for other tests, they are ours.
    for name in [name for name in celery.tasks if name.startswith("shop.")]:
        monkeypatch.delitem(celery.tasks, name)
    return Shop(settings.broker_url, tmp_path, settings.result_backend, **CONF)


def test_their_runs_are_seen_and_ours_are_executed_there(
    beats: Rig, settings: Settings, shop: Shop, context: Flask
) -> None:
    time = FakeTime(datetime.now(UTC))
    core = beats.leading(time)
    core.observer.max_answers = 1
    operator = Visitor(context, "operator")
    with shop.worker("--pool", "threads", "-Q", "parcels,letters") as worker, observing(settings):
        wait_for(lambda: "Events of group {task} enabled by remote." in worker.output(), seconds=20)
        theirs = shop.send("shop.note", "theirs", queue="parcels")
        wait_for(lambda: theirs in rows() and rows()[theirs].ended_at is not None, seconds=20)
        learn_tasks(core)
        for task in ("shop.note", "shop.private"):
            beats.interval(task, 1, saved=datetime.fromtimestamp(time.wall_now, UTC), task=task, args='["due"]')
        for _ in range(3):
            time.pass_by(1)
            core.step(woken=True)
        wait_for(lambda: shop.executed()["due"] == len(sent_by_beat()) >= 4, seconds=20)
        form = {"task": "shop.private", "mode": "json", "args": '["by hand"]', "kwargs": "{}", "priority": "4"}
        assert operator.post("/runs/new", form).status_code == 303
        wait_for(lambda: shop.executed()["by hand"] == 1, seconds=20)
        beats.execute("UPDATE celery_periodictask SET enabled = false")
        minutes_pass(core, time, 4)
    assert set(sent_by_beat().values()) == {1}
    assert shop.executed()["due"] == len(sent_by_beat())
    with beats.engine.connect() as connection:
        ours = sa.and_(Run.origin != Origin.PROGRAM, Run.sent_at.is_not(None))
        found = connection.execute(sa.select(Run.task, Run.queue, Run.state).where(ours))
    assert set(found) == {
        ("shop.note", "parcels", RunState.SUCCEEDED),
        ("shop.private", "letters", RunState.SUCCEEDED),
    }
    assert fresh(Run, id_of_task(theirs)).state == RunState.SUCCEEDED


def test_what_waits_there_is_counted_and_known(beats: Rig, settings: Settings, shop: Shop, context: Flask) -> None:
    time = FakeTime(datetime.now(UTC))
    core = beats.leading(time)
    core.observer.max_answers = 1
    with shop.worker("--pool", "threads", "-Q", "parcels,letters"):
        learn_tasks(core)
    # One for our own worker too, which may be sent again: not while the broker has it.
    waiting = [control.launch("add", [1, 1]).id]
    waiting += [control.launch("shop.private", [str(number)], origin=Origin.LAUNCH).id for number in range(3)]
    assert broker.queue_depths(["letters", "parcels"]) == {"letters": 3, "parcels": 0}
    minutes_pass(core, time, 4)
    # Neither lost nor unconfirmed: the messages are found where they wait.
    assert {(fresh(Run, run_id).state, fresh(Run, run_id).sends) for run_id in waiting} == {(RunState.QUEUED, 1)}
    with redis_client.Redis.from_url(settings.broker_url, decode_responses=True) as client:
        assert client.get("shop:beatdesk:broker-mark")
        assert client.get("shop:beatdesk:installation")
        (message, *_) = client.lrange("shop:letters", 0, -1)
        assert [key for key in client.scan_iter() if not key.startswith("shop:")] == []
    # A worker of theirs applies its own limits.
    assert json.loads(message)["headers"]["timelimit"] == [None, None]
    answer = Visitor(context, None).get("/readyz")
    assert "broker" in answer.text
    assert broker.bound_to("", "letters") == ["letters"]
    with processes.recorder(settings), processes.worker(settings, "--pool", "threads"):
        wait_for(lambda: fresh(Run, waiting[0]).state == RunState.SUCCEEDED, seconds=20)


def learn_tasks(core: Core) -> None:
    """Ask the worker for its tasks until it has answered."""

    def asked() -> bool:
        core.observer.look()
        forget_announced()
        return find_task("shop.private") is not None

    wait_for(asked, seconds=20)


def minutes_pass(core: Core, time: FakeTime, number: int) -> None:
    for _ in range(number * 2):
        time.pass_by(30)
        core.step(woken=True)
        wait_for(lambda: core.publisher.idle)
        core.observer.look()


def sent_by_beat() -> dict[str, int]:
    """How often each run of a schedule was sent."""
    return {run_id: row.sends for run_id, row in rows().items() if row.schedule_id is not None and row.sent_at}
