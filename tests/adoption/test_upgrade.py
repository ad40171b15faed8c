"""Messages that wait in Celery's default queue, which Beatdesk used before, are executed once after the upgrade."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest
import redis as redis_client
import sqlalchemy as sa
from flask import Flask

from tests import processes
from tests.adoption import shop_tasks
from tests.adoption.foreign import Shop
from tests.runs.making import make_run
from tests.scheduler.beats import Rig
from tests.servers import move_to, wait_for
from tests.support import fresh
from webapp.config import Settings
from webapp.database.engine import now
from webapp.extensions import db
from webapp.run_store.models import Run
from webapp.run_store.states import Origin, RunState

pytestmark = pytest.mark.each_database

FORMER = "0015_unconfirmed"
TASKS = shop_tasks.__name__


@pytest.fixture
def settings(settings: Settings) -> Settings:
    import_module(TASKS)
    return settings.with_changes(task_modules=(TASKS,))


def upgraded(rows: list[dict[str, Any]]) -> list[str]:
    """The ids of these runs, which were there before the upgrade."""
    db.session.rollback()
    move_to(FORMER)
    ids = [make_run(**{"task": "shop.note", "args": '["once"]', **row}) for row in rows]
    db.session.rollback()
    move_to("head")
    return ids


def test_each_unended_run_is_to_be_sent_again(context: Flask) -> None:
    sent: dict[str, Any] = {"sent_at": now(), "sends": 1}
    retrying = {"state": RunState.RETRYING, "attempt": 2, "claims": 3, **sent}
    diverted = {"options": '{"exchange": "theirs", "routing_key": "x"}'}
    rows: dict[str, tuple[dict[str, Any], tuple[str, str | None, bool, int]]] = {
        "queued": ({"state": RunState.QUEUED, **sent}, ("queued", None, False, 0)),
        "by a task": ({"state": RunState.QUEUED, "queue": "celery", **sent}, ("queued", None, False, 0)),
        "elsewhere": ({"state": RunState.QUEUED, "queue": "slow", **sent}, ("queued", "slow", True, 0)),
        "by an exchange": ({"state": RunState.QUEUED, **diverted, **sent}, ("queued", None, True, 0)),
        "held": ({"state": RunState.HELD, "queue": "celery", **sent}, ("held", None, True, 0)),
        # The claim is still the worker's. Should that be lost, the run is sent again, to our own queue.
        "started": ({"state": RunState.STARTED, "queue": "celery", **sent}, ("started", None, True, 0)),
        # The message that waits is that of its next attempt.
        "retrying": ({**retrying, "queue": "celery"}, ("queued", None, False, 3)),
        "retrying elsewhere": ({**retrying, "queue": "slow"}, ("retrying", "slow", True, 2)),
        "ended": ({"state": RunState.FAILED, "queue": "celery", **sent}, ("failed", "celery", True, 0)),
        "ended, by a task": (
            {"state": RunState.FAILED, "queue": "celery", "origin": Origin.TASK, **sent},
            ("failed", None, True, 0),
        ),
    }
    ids = upgraded([row for row, _ in rows.values()])
    found = {}
    for name, run_id in zip(rows, ids, strict=True):
        run = fresh(Run, run_id)
        found[name] = (run.state, run.queue, run.sent_at is not None, run.attempt)
    assert found == {name: expected for name, (_, expected) in rows.items()}


@pytest.mark.slow
def test_a_message_that_is_left_there_and_the_one_sent_again_are_one_run(
    context: Flask, settings: Settings, beats: Rig, redis: redis_client.Redis
) -> None:
    shop = Shop(settings.broker_url, settings.data)
    queued = {"state": RunState.QUEUED, "sent_at": now(), "sends": 1}
    retrying = {"state": RunState.RETRYING, "sent_at": now(), "attempt": 0, "claims": 1}
    ids = upgraded([queued, {**queued, "queue": "celery"}, retrying])
    for run_id, retries in zip(ids, (0, 0, 1), strict=True):
        shop.send("shop.note", "once", task_id=run_id, retries=retries)
    assert redis.llen("celery") == len(ids)
    core = beats.beat()

    def sent_again() -> bool:
        core.step(woken=True)
        return int(redis.llen("beatdesk")) == len(ids)

    wait_for(sent_again)
    env = {"TASK_MODULES": TASKS, "SHOP_LEDGER": str(shop.ledger), "WORKER_QUEUES": "celery,beatdesk"}
    with processes.worker(settings, "--concurrency", "2", **env) as worker:
        # Each message is answered for, by a success or as a duplicate.
        wait_for(lambda: worker.output().count(" succeeded in ") == len(ids), seconds=20)
        wait_for(lambda: worker.output().count("not started here: ") == len(ids), seconds=20)
    assert shop.executed() == {"once": len(ids)}
    assert db.session.scalars(sa.select(Run.claims).order_by(Run.claims)).all() == [1, 1, 2]
