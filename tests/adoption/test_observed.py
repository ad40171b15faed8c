"""Runs on a queue that another project's worker consumes: sent once, and settled by the available evidence."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

import pytest
import redis as redis_client
import sqlalchemy as sa
from flask import Flask

from tests import processes
from tests.adoption.foreign import Shop
from tests.scheduler.beats import FakeTime, Rig
from tests.servers import wait_for
from tests.support import fresh
from tests.visitors import Visitor
from webapp.config import Settings
from webapp.run_store.models import Run
from webapp.run_store.states import Origin, RunState
from webapp.run_store.worker_models import QueueConsumer
from webapp.runs import control
from webapp.scheduler.core import Core

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("context")]

SHOP_TASKS = "tests.adoption.shop_tasks"
# Takes one message beside the one that it executes, so that a queue of three is not empty.
# Not the pool "solo", which acknowledges only after the task, so that Redis brings the message back.
ONE_AT_A_TIME = ("-Q", "shop", "--pool", "threads", "--concurrency", "1", "--prefetch-multiplier", "1")


@pytest.fixture
def settings(settings: Settings, each_broker: str) -> Settings:
    import_module(SHOP_TASKS)
    return settings.with_changes(broker_url=each_broker, task_modules=(SHOP_TASKS,))


@pytest.fixture
def shop(settings: Settings, tmp_path: Path) -> Shop:
    return Shop(settings.broker_url, tmp_path, settings.result_backend)


class Desk:
    """A beat that leads, with a clock that the test moves, so that minutes pass at once."""

    def __init__(self, beats: Rig, workers: int = 1) -> None:
        self.beats = beats
        self.time = FakeTime(datetime.now(UTC))
        self.core: Core = beats.leading(self.time)
        self.core.observer.max_answers = workers

    def look(self) -> None:
        self.core.step(woken=True)
        wait_for(lambda: self.core.publisher.idle)
        self.core.observer.look()

    def minutes(self, number: int) -> None:
        """Let beat look as often as it does, and longer than recovery waits before it sends again."""
        for _ in range(number * 2):
            self.time.pass_by(30)
            self.look()

    def consumers(self) -> set[tuple[str, str, bool]]:
        with self.beats.engine.connect() as connection:
            rows = connection.execute(sa.select(QueueConsumer.queue, QueueConsumer.node, QueueConsumer.claims))
            return {(row.queue, row.node.partition("@")[0], row.claims) for row in rows}


def launched(task: str, *args: str) -> str:
    return control.launch(task, args, origin=Origin.LAUNCH, queue="shop").id


def states(ids: Sequence[str]) -> set[str]:
    return {fresh(Run, id_).state for id_ in ids}


def test_another_projects_worker_executes_each_run_once(
    beats: Rig, shop: Shop, settings: Settings, tmp_path: Path, context: Flask
) -> None:
    desk = Desk(beats)
    with shop.worker(*ONE_AT_A_TIME) as worker:
        executed_once_and_settled_by_the_results(desk, shop)
        lost = waits_behind_a_long_one(desk, shop, str(tmp_path / "gate"))
        os.killpg(worker.popen.pid, signal.SIGKILL)
        worker.popen.wait(10)
    desk.minutes(2)
    with shop.worker(*ONE_AT_A_TIME, name="next"):
        what_was_lost_is_unconfirmed(desk, shop, lost)
        a_person_sends_again(desk, shop, lost, Visitor(context, "operator"), tmp_path / "gate")


def executed_once_and_settled_by_the_results(desk: Desk, shop: Shop) -> None:
    start = datetime.fromtimestamp(desk.time.wall_now, UTC)
    made = desk.beats.interval("due", 1, saved=start, task="shop.note", args='["due"]', queue="shop")
    for _ in range(6):
        desk.time.pass_by(1)
        desk.look()
    desk.beats.execute("UPDATE celery_periodictask SET enabled = false")
    ids = [launched("shop.note", f"launched {number}") for number in range(5)]
    failing = launched("shop.fails", "out of stock")
    assert {run.sends for run in desk.beats.runs() if run.id in ids} == {1}
    desk.look()
    due = [run.id for run in desk.beats.runs(made)]
    assert len(due) >= 5
    wait_for(lambda: shop.executed().total() == len(due) + 6, seconds=20)
    desk.minutes(4)
    assert shop.executed() == {"due": len(due), "out of stock": 1} | {f"launched {number}": 1 for number in range(5)}
    assert states([*ids, *due]) == {RunState.SUCCEEDED}
    assert fresh(Run, ids[0]).result == '"launched 0"'
    failed = fresh(Run, failing)
    assert (failed.state, failed.error) == (RunState.FAILED, "ValueError: out of stock")
    assert "shop_tasks.py" in str(failed.traceback)
    assert ("shop", "celery", False) in desk.consumers()


def waits_behind_a_long_one(desk: Desk, shop: Shop, gate: str) -> str:
    """Gives the id of the one that is executed meanwhile."""
    long = launched("shop.wait", "long", gate)
    wait_for(lambda: shop.executed()["long"] == 1, seconds=20)
    backlog = [launched("shop.note", f"backlog {number}") for number in range(3)]
    desk.minutes(3)
    assert states(backlog) == {RunState.QUEUED}
    assert {fresh(Run, id_).sends for id_ in backlog} == {1}
    # RabbitMQ does not report which of them the queue still has.
    assert states([long]) <= {RunState.STARTED, RunState.QUEUED}
    return long


def what_was_lost_is_unconfirmed(desk: Desk, shop: Shop, lost: str) -> None:
    # On Redis what the dead worker had in hand comes back after an hour, by its own settings.
    names = {f"backlog {number}" for number in range(3)}
    wait_for(lambda: len(names & shop.executed().keys()) >= 2, seconds=20)
    desk.minutes(3)
    run = fresh(Run, lost)
    assert (run.state, run.sends) == (RunState.UNCONFIRMED, 1)
    executed = shop.executed()
    assert {executed[name] for name in ("long", *(names & executed.keys()))} == {1}


def a_person_sends_again(desk: Desk, shop: Shop, lost: str, operator: Visitor, gate: Path) -> None:
    text = operator.get(f"/runs/{lost}").text
    assert "do not report to Beatdesk: celery@" in text
    gate.touch()
    assert operator.post(f"/runs/{lost}/send-again").status_code == 303
    wait_for(lambda: shop.executed()["long"] == 2, seconds=20)
    desk.minutes(1)
    run = fresh(Run, lost)
    assert (run.state, run.sends, run.reason) == (RunState.SUCCEEDED, 2, "Sent again by Sita Gurung")


def test_a_beat_that_is_killed_before_it_publishes_sends_nothing_twice(
    beats: Rig, shop: Shop, settings: Settings
) -> None:
    made = beats.interval("due", 1, saved=datetime.now(UTC), task="shop.note", args='["due"]', queue="shop")
    with processes.running(processes.beat(settings, TASK_MODULES=f"{SHOP_TASKS},tests.adoption.killer")) as beat:
        wait_for(lambda: beat.popen.poll() is not None, seconds=40, message="the beat was not killed")
    beats.execute("UPDATE celery_periodictask SET enabled = false")
    noted = [run.id for run in beats.runs(made) if run.sent_at]
    assert noted
    with shop.worker(*ONE_AT_A_TIME):
        desk = Desk(beats)
        desk.minutes(5)
    assert states(noted) == {RunState.UNCONFIRMED}
    assert shop.executed()["due"] == len(beats.runs(made)) - len(noted)


def test_workers_of_both_on_one_queue(beats: Rig, shop: Shop, settings: Settings, redis: redis_client.Redis) -> None:
    ours = processes.worker(
        settings, "-Q", "shop", "--pool", "solo", name="ours", TASK_MODULES=SHOP_TASKS, SHOP_LEDGER=str(shop.ledger)
    )
    with ours, shop.worker(*ONE_AT_A_TIME):
        desk = Desk(beats, workers=2)

        def both_are_seen() -> bool:
            desk.look()
            return desk.consumers() >= {("shop", "ours", True), ("shop", "celery", False)}

        wait_for(both_are_seen, seconds=20)
        ids = [launched("shop.note", f"n {number}") for number in range(10)]
        wait_for(lambda: shop.executed().total() == 10, seconds=20)
        desk.minutes(5)
    assert shop.executed() == {f"n {number}": 1 for number in range(10)}
    assert {fresh(Run, id_).sends for id_ in ids} == {1}
