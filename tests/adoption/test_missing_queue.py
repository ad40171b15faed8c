"""A queue that does not exist on RabbitMQ: its runs wait and delay no others, and so does its consumer."""

from __future__ import annotations

from importlib import import_module

import pytest
import sqlalchemy as sa
from flask import Flask

from tests import processes
from tests.adoption import shop_tasks
from tests.adoption.foreign import Shop
from tests.scheduler.beats import FakeTime, Rig, at
from tests.servers import wait_for
from tests.support import fresh, reading
from webapp.config import Settings
from webapp.database.engine import now
from webapp.extensions import db
from webapp.messaging import broker
from webapp.run_store.models import Run
from webapp.run_store.states import Origin, RunState
from webapp.runs import control
from webapp.scheduler.sending import messages

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("context")]
TASKS = shop_tasks.__name__
REASON = "Not sent: the queue nowhere does not exist on the broker"


@pytest.fixture(params=["rabbitmq"])
def each_broker(each_broker: str) -> str:
    return each_broker


@pytest.fixture
def settings(settings: Settings, each_broker: str) -> Settings:
    import_module(TASKS)
    return settings.with_changes(broker_url=each_broker, task_modules=(TASKS,))


def test_it_waits_for_the_queue_and_others_go_on(
    settings: Settings, beats: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messages, "TRY_AGAIN_AFTER", 0.5)
    shop = Shop(settings.broker_url, settings.data)
    env = {"TASK_MODULES": TASKS, "SHOP_LEDGER": str(shop.ledger), "WORKER_QUEUES": "beatdesk,nowhere"}
    core = beats.beat()

    def stepping(done: object) -> bool:
        core.step(woken=True)
        return bool(done)

    with (
        processes.recorder(settings),
        processes.worker(settings, "--concurrency", "1", **env) as worker,
    ):
        waiting = [control.launch("shop.note", [f"waits {number}"], queue="nowhere").id for number in range(3)]
        other = control.launch("shop.note", ["goes on"])
        sender = control.launch("shop.sends", ["a child", "nowhere"])
        wait_for(lambda: stepping(fresh(Run, sender.id).state == RunState.SUCCEEDED), seconds=20)
        wait_for(lambda: stepping({fresh(Run, run).reason for run in waiting} == {REASON}), seconds=20)
        child = wait_for(lambda: stepping(child_ids()) and child_ids())[0]
        assert {(fresh(Run, run).state, fresh(Run, run).sent_at) for run in [*waiting, child]} == {("queued", None)}
        assert fresh(Run, child).reason == REASON
        assert fresh(Run, other.id).sends == 1
        assert not core.publisher.broker_away
        assert "nowhere does not exist on the broker" in worker.output()
        # Its owner makes it.
        shop.send("shop.note", "theirs", queue="nowhere")
        expected = {"goes on", "a child", "theirs", *(f"waits {number}" for number in range(3))}
        wait_for(lambda: stepping(shop.executed() == dict.fromkeys(expected, 1)), seconds=30)
    assert {(fresh(Run, run).reason, fresh(Run, run).sends) for run in [*waiting, child]} == {(None, 1)}


def child_ids() -> list[str]:
    with reading():
        return list(db.session.scalars(sa.select(Run.id).where(Run.origin == Origin.TASK, Run.parent_id.is_not(None))))


def test_many_that_wait_leave_room_for_others(context: Flask, beats: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webapp.scheduler.recovery.MAX_RUNS", 5)
    old = at("2026-01-01T00:00:00")
    add = {"task": "add", "args": "[1, 2]", "kwargs": "{}", "state": "queued", "created_at": old}
    rows = [{"id": f"{number:036}", "queue": "nowhere", **add} for number in range(12)]
    db.session.execute(sa.insert(Run), [*rows, {"id": "f" * 36, "queue": None, **add | {"created_at": now()}}])
    db.session.commit()
    time = FakeTime(now())
    core = beats.beat(time)

    def sent() -> bool:
        time.pass_by(1)
        core.step(woken=True)
        return fresh(Run, "f" * 36).sent_at is not None

    wait_for(sent)
    assert {fresh(Run, row["id"]).reason for row in rows} == {REASON}
    assert broker.queue_depths(["beatdesk", "nowhere"]) == {"beatdesk": 1, "nowhere": None}
