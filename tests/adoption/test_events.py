"""Runs of another project's worker, its code untouched and nothing sent by Beatdesk: known by task events alone."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from beatdesk.execution.ids import id_of_task
from tests.adoption.foreign import Shop
from tests.adoption.observers import observing, rows, shown
from tests.scheduler.beats import FakeTime, Rig
from tests.servers import wait_for
from webapp.config import Settings
from webapp.extensions import db
from webapp.messaging import broker
from webapp.recorder import event_reader
from webapp.run_store import observed_workers
from webapp.run_store.states import Origin, RunState

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("context")]


@pytest.fixture
def settings(settings: Settings, each_broker: str) -> Settings:
    return settings.with_changes(broker_url=each_broker)


@pytest.fixture
def shop(settings: Settings, tmp_path: Path) -> Shop:
    return Shop(settings.broker_url, tmp_path)


class Deaf(event_reader.EventReader):
    """A reader that misses what became of three runs, as a listener that Redis has cut off for a while."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.missed: set[str] = set()

    def _take(self, message: Any) -> None:
        super()._take(message)
        for place, (event, read) in enumerate(self._events):
            if event["type"] == "task-started" and len(self.missed) < 3:
                self.missed.add(event["uuid"])
            if event.get("uuid") in self.missed and event["type"] != "task-received":
                self._events[place] = ({**event, "type": "task-missed"}, read)


def gaps() -> list[observed_workers.EventGap]:
    with db.engine.connect() as connection:
        return observed_workers.gaps(connection, 10)


def test_every_run_of_an_untouched_worker_is_recorded(settings: Settings, shop: Shop, tmp_path: Path) -> None:
    with observing(settings), shop.worker("--pool", "threads", "--concurrency", "2") as worker:
        wait_for(lambda: "Events of group {task} enabled by remote." in worker.output(), seconds=20)
        notes = [shop.send("shop.note", f"n {number}") for number in range(20)]
        failing = shop.send("shop.fails", "out of stock")
        named = shop.send("shop.note", "named", task_id="daily-report")
        long = shop.send("shop.wait", "long", str(tmp_path / "gate"))
        wait_for(lambda: rows().get(long) is not None and rows()[long].state == RunState.STARTED, seconds=20)
        (tmp_path / "gate").touch()
        ids = [*notes, failing, id_of_task(named), long]
        wait_for(lambda: all(id_ in rows() and rows()[id_].ended_at for id_ in ids), seconds=20)
        found = rows()
    assert found.keys() == set(ids)
    assert {found[id_].state for id_ in notes} == {RunState.SUCCEEDED}
    first = found[notes[0]]
    assert (first.task, first.args, first.result, first.origin) == ("shop.note", '["n 0"]', '"n 0"', Origin.PROGRAM)
    assert first.worker.startswith("celery@")
    assert first.started_at
    assert first.received_at
    assert first.started_at <= first.ended_at
    assert (found[failing].state, found[failing].error) == (RunState.FAILED, "ValueError: out of stock")
    assert "shop_tasks.py" in found[failing].traceback
    assert found[id_of_task(named)].external_id == "daily-report"
    # Each of its tasks ran once: to be observed changes nothing.
    assert set(shop.executed().values()) == {1}


def test_a_worker_that_is_there_before_is_asked_and_shown(settings: Settings, shop: Shop) -> None:
    with shop.worker("--pool", "threads") as worker, observing(settings):
        wait_for(lambda: "Events of group {task} enabled by remote." in worker.output(), seconds=20)
        sent = shop.send("shop.note", "a")
        wait_for(lambda: sent in rows() and rows()[sent].ended_at is not None, seconds=20)

        wait_for(shown, seconds=20)
        assert [row.node.partition("@")[0] for row in shown()] == ["celery"]
        assert "py-celery 5" in shown()[0].software


def test_what_a_reader_missed_is_a_gap_and_settled_from_the_result_backend(
    settings: Settings, tmp_path: Path, beats: Rig
) -> None:
    shop = Shop(settings.broker_url, tmp_path, settings.result_backend)
    with shop.worker("--pool", "threads", "--concurrency", "1", "-E"), observing(settings, Deaf):
        wait_for(shown, seconds=20)
        missed = [
            id_of_task(shop.send("shop.note", "first", task_id="daily-report")),
            shop.send("shop.fails", "second"),
            shop.send("shop.note", "third"),
        ]
        ids = [*missed, *(shop.send("shop.note", f"n {number}") for number in range(2))]
        wait_for(lambda: shop.executed().total() == 5, seconds=20)

        wait_for(gaps, seconds=20)
        assert sum(gap.lost or 0 for gap in gaps()) == 3
        wait_for(lambda: all(rows()[id_].ended_at for id_ in ids[3:]), seconds=20)
        assert {rows()[id_].state for id_ in missed} == {RunState.QUEUED}
        core = beats.leading(FakeTime(datetime.now(UTC)))
        core.observer.max_answers = 1
        core.observer.look()
        found = rows()
    assert [found[id_].state for id_ in missed] == [RunState.SUCCEEDED, RunState.FAILED, RunState.SUCCEEDED]
    assert (found[missed[0]].result, found[missed[1]].error) == ('"first"', "ValueError: second")


def test_a_queue_of_its_own_keeps_events_on_rabbitmq(settings: Settings, shop: Shop, context: Flask) -> None:
    """Without a reader nothing is lost there; on Redis only listeners get events, so a gap says what is not known."""
    with shop.worker("--pool", "threads", "-E"):
        with observing(settings):
            wait_for(shown, seconds=20)
        sent = [shop.send("shop.note", f"away {number}") for number in range(5)]
        wait_for(lambda: shop.executed().total() == 5, seconds=20)
        with observing(settings):
            after = shop.send("shop.note", "back")
            wait_for(lambda: after in rows() and rows()[after].ended_at is not None, seconds=20)
            kept = {id_ for id_ in sent if id_ in rows()}
    expected = set(sent) if settings.broker_url.startswith("amqp") else set()
    assert kept == expected
    assert broker.client().get(event_reader.LEASE) is None
