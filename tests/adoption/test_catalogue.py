"""Tasks that Beatdesk cannot import, known by what another project's worker has registered: scheduled and launched."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask

from tests.adoption.foreign import Shop
from tests.scheduler.beats import FakeTime, Rig
from tests.servers import wait_for
from tests.visitors import Visitor
from webapp.config import Settings
from webapp.run_store.models import Run
from webapp.run_store.states import RunState
from webapp.schedule_store.beat_models import ScheduleProgress
from webapp.task_catalogue.registry import find_task, forget_announced, known_tasks

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("context")]
TASK = "shop.private"


@pytest.fixture
def settings(settings: Settings, each_broker: str) -> Settings:
    return settings.with_changes(broker_url=each_broker)


def noted(beats: Rig, schedule_id: int) -> object:
    """What beat has noted as wrong with a schedule."""
    with beats.engine.connect() as connection:
        query = sa.select(ScheduleProgress.broken).where(ScheduleProgress.schedule_id == schedule_id)
        return connection.execute(query).scalar()


def test_a_task_known_by_name_is_scheduled_and_launched(
    beats: Rig, settings: Settings, tmp_path: Path, context: Flask
) -> None:
    shop, time = Shop(settings.broker_url, tmp_path, settings.result_backend), FakeTime(datetime.now(UTC))
    core = beats.leading(time)
    core.observer.max_answers = 1
    waiting = beats.interval("their", 1, saved=datetime.fromtimestamp(time.wall_now, UTC), task=TASK, args='["due"]')
    core.step(woken=True)
    assert find_task(TASK) is None
    assert "not registered" in str(noted(beats, waiting))
    with shop.worker("--pool", "threads"):
        core.observer.look()
        forget_announced()
        known = find_task(TASK)
        assert known is not None
        assert "Known by name from celery@" in str(known.note)
        assert {"shop.note", "shop.fails"} <= known_tasks().keys()
        # Beat fires the schedule that waited for the task, and a person launches one from the page.
        for _ in range(3):
            time.pass_by(1)
            core.step(woken=True)
        wait_for(lambda: shop.executed()["due"] >= 2, seconds=20)
        operator = Visitor(context, "operator")
        page = operator.get(f"/runs/new?task={TASK}")
        assert "Its arguments are sent as JSON and are not checked." in page.text
        assert 'name="mode" value="json"' in page.text
        assert "Edit arguments as fields" not in page.text
        answer = operator.post("/runs/new", {"task": TASK, "mode": "json", "args": '["by hand"]', "kwargs": "{}"})
        assert answer.status_code == 303
        wait_for(lambda: shop.executed()["by hand"] == 1, seconds=20)
        for _ in range(4):
            time.pass_by(30)
            core.observer.look()
    with beats.engine.connect() as connection:
        runs = connection.execute(sa.select(Run.state, Run.queue, Run.args).where(Run.task == TASK)).all()
    assert {run.queue for run in runs} == {"celery"}
    assert {run.state for run in runs if run.args == '["by hand"]'} == {RunState.SUCCEEDED}


def test_a_schedule_of_a_task_known_by_name_is_saved(
    beats: Rig, settings: Settings, tmp_path: Path, context: Flask
) -> None:
    shop, time = Shop(settings.broker_url, tmp_path), FakeTime(datetime.now(UTC))
    core = beats.leading(time)
    core.observer.max_answers = 1
    with shop.worker("--pool", "threads"):
        core.observer.look()
    forget_announced()
    admin = Visitor(context, "admin")
    # Chosen after a task with fields: its arguments are asked for as JSON.
    arguments = admin.post("/schedules/arguments", {"task": TASK, "mode": "fields", "arg.num1": "2"}).text
    assert 'name="mode" value="json"' in arguments
    form = {"name": "theirs", "task": TASK, "kind": "interval", "every": "5", "period": "minutes", "args": '["x"]'}
    answer = admin.post("/schedules", {**form, "mode": "json", "kwargs": "{}", "enabled": "1"})
    assert answer.status_code == 303
    page = admin.get(answer.location).text
    assert "is not registered" not in page
