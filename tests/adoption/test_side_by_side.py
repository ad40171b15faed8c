"""Our worker and another project's on one broker: each takes its own, whichever starts first."""

from __future__ import annotations

import json
from collections import Counter
from importlib import import_module
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask

from tests import processes
from tests.adoption import shop_tasks
from tests.adoption.foreign import Shop
from tests.servers import wait_for
from tests.support import reading
from webapp.config import Settings
from webapp.extensions import db
from webapp.messaging import broker
from webapp.messaging.celery_config import DEFAULT_QUEUE
from webapp.run_store import sending
from webapp.run_store.models import Run
from webapp.run_store.states import RunState
from webapp.run_store.worker_models import Worker
from webapp.runs import control

pytestmark = pytest.mark.slow
TASKS = shop_tasks.__name__
REFUSAL = "Another program's worker, celery@"


@pytest.fixture
def settings(settings: Settings, each_broker: str) -> Settings:
    import_module(TASKS)
    return settings.with_changes(broker_url=each_broker, task_modules=(TASKS,))


@pytest.fixture
def shop(settings: Settings) -> Shop:
    return Shop(settings.broker_url, settings.data)


def consumed(name: str) -> list[str]:
    """The queues that our worker consumes, as last reported."""
    with reading():
        query = sa.select(Worker.queues).where(Worker.name.startswith(f"{name}@"), Worker.stopped_at.is_(None))
        found: list[str] = json.loads(db.session.scalars(query).one())
        return found


def test_each_takes_its_own(context: Flask, settings: Settings, shop: Shop) -> None:
    ours = settings.data / "our-ledger.txt"
    env = {"TASK_MODULES": TASKS, "SHOP_LEDGER": str(ours)}
    # As Celery's default declares the queue: without a highest priority.
    shop.send("shop.note", "no other worker is there")
    with processes.worker(settings, "--concurrency", "1", name="first", **env) as first:
        wait_for(lambda: executed(ours) == {"no other worker is there": 1}, seconds=20)
        with shop.worker("-Q", "celery,shop") as theirs:
            for number in range(3):
                shop.send("shop.private", f"theirs {number}")
            runs = [control.launch("shop.note", [f"ours {number}"]).id for number in range(3)]
            theirs_only = Counter(f"theirs {number}" for number in range(3))
            wait_for(lambda: shop.executed() == theirs_only, seconds=20)
            expected = Counter(["no other worker is there", *(f"ours {number}" for number in range(3))])
            wait_for(lambda: executed(ours) == expected, seconds=20)
            # While it executes a task it does not answer.
            gate = settings.data / "gate"
            shop.send("shop.wait", "busy", str(gate))
            wait_for(lambda: shop.executed()["busy"] == 1)
            with processes.worker(settings, "--concurrency", "1", name="second", **env) as second:
                wait_for(lambda: "a worker that does not answer may consume it" in second.output(), seconds=20)
                gate.touch()
                wait_for(lambda: all(REFUSAL in worker.output() for worker in (first, second)), seconds=20)
                assert "WORKER_QUEUES=beatdesk,celery" in second.output()
                assert consumed("second") == [DEFAULT_QUEUE]
            # What we send to a queue of theirs leaves the queue as it is.
            assert sending.publish([Run(id=runs[0], task="shop.note", args='["for them"]', kwargs="{}", queue="shop")])
            wait_for(lambda: shop.executed()["for them"] == 1)
            for worker in (first, second, theirs):
                assert "unregistered task" not in worker.output()
                assert "PRECONDITION_FAILED" not in worker.output()
    assert set(broker.queue_depths(["celery", DEFAULT_QUEUE, "shop"]).values()) == {0}


def test_without_their_tasks_ours_takes_its_own_queue_alone(settings: Settings, shop: Shop, context: Flask) -> None:
    with processes.worker(settings, TASK_MODULES="", CELERY_WORKER_POOL="solo"), processes.recorder(settings):
        theirs = shop.send("shop.note", "for them")
        own = control.launch("runs.retain", []).id

        def state() -> str | None:
            with reading():
                return db.session.scalar(sa.select(Run.state).where(Run.id == own))

        wait_for(lambda: state() == RunState.SUCCEEDED, seconds=20)
        assert consumed("worker") == [DEFAULT_QUEUE]
        wait_for(lambda: broker.queue_depths(["celery"]) == {"celery": 1}, seconds=20)
        with reading():
            assert set(db.session.scalars(sa.select(Worker.pool))) == {"solo"}
        with shop.worker():
            wait_for(lambda: shop.executed() == {"for them": 1}, seconds=20)
    with reading():
        assert db.session.get(Run, theirs) is None


def executed(ledger: Path) -> Counter[str]:
    return Counter(ledger.read_text().splitlines() if ledger.exists() else ())
