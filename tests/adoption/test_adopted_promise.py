"""Beatdesk's processes and an adopted worker: its queue is guarded, and its task events record nothing twice."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from beatdesk.execution.ids import new_id
from tests.adoption.foreign import AdoptedShop
from tests.adoption.observers import observing
from tests.runs.making import make_run
from tests.scheduler.beats import FakeTime, Rig
from tests.servers import wait_for
from webapp.config import Settings
from webapp.database.engine import now
from webapp.extensions import db
from webapp.run_store import promise
from webapp.run_store.models import Run
from webapp.run_store.observed_workers import ObservedWorker
from webapp.run_store.promise import Promise
from webapp.run_store.states import RunState

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("context")]


def test_an_adopted_queue_is_guarded_and_nothing_is_recorded_twice(
    settings: Settings, beats: Rig, tmp_path: Path
) -> None:
    shop = AdoptedShop(settings.broker_url, tmp_path)
    sent_at = now()
    lost = make_run(RunState.QUEUED, id=new_id(), task="shop.write", args='["again"]', queue="celery", sent_at=sent_at)
    core = beats.leading(FakeTime(sent_at))
    with observing(settings), shop.worker("--pool", "threads", "-E"):
        for number in range(5):
            shop.send("shop.write", f"n {number}", task_id=f"theirs {number}")

        def ended() -> bool:
            with db.engine.connect() as connection:
                rows = connection.execute(sa.select(Run.state, Run.claimed_by).where(Run.external_id.is_not(None)))
                return [row.state for row in rows if row.claimed_by] == [RunState.SUCCEEDED] * 5

        wait_for(ended, seconds=30)
        core.observer.max_answers = 1

        def guarded() -> bool:
            core.observer.look()
            with db.engine.connect() as connection:
                return promise.promise("celery", sent_at, promise.load(connection)) is Promise.GUARDED

        wait_for(guarded, seconds=30)
        with db.engine.connect() as connection:
            assert connection.scalar(sa.select(sa.func.count()).select_from(Run)) == 6
            assert connection.scalars(sa.select(ObservedWorker.node)).all() == []
            found = connection.execute(sa.select(Run.id).where(promise.guarded(promise.load(connection)))).scalars()
            assert list(found) == [lost]
    assert shop.executed() == {f"n {number}": 1 for number in range(5)}
