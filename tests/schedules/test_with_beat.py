"""Edits on the pages and a real beat: in force at once, fired as previewed, skipped as asked."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from tests import processes
from tests.servers import wait_for
from tests.support import reading
from tests.visitors import Visitor, number_of
from webapp.config import Settings
from webapp.database.engine import now
from webapp.extensions import db
from webapp.messaging.default_schedules import SCHEDULES
from webapp.run_store.models import Run
from webapp.schedule_store.beat_models import Beat
from webapp.schedule_store.rows import TASKS

pytestmark = [pytest.mark.slow, pytest.mark.each_database]
Filled = Callable[..., dict[str, Any]]


@pytest.fixture
def beat(settings: Settings, app: Flask) -> Iterator[None]:
    # A new leader writes the code's schedules, which is an edit too: the latest "in force" would be about that.
    def ready() -> bool:
        with app.app_context(), reading():
            leads = db.session.scalars(sa.select(Beat.id).where(Beat.leading)).first() is not None
            return leads and set(SCHEDULES) <= set(db.session.scalars(sa.select(TASKS.c.name)))

    with processes.running(processes.beat(settings)):
        wait_for(ready, seconds=30, message="no beat led")
        yield


def runs(app: Flask, number: int) -> list[tuple[datetime | None, str]]:
    with app.app_context(), reading():
        query = sa.select(Run.due_at, Run.state).where(Run.schedule_id == number).order_by(Run.due_at)
        return [(row.due_at, row.state) for row in db.session.execute(query)]


def in_force(visitor: Visitor, number: int) -> float:
    """The number of seconds from the edit until it was in force."""

    def found() -> re.Match[str] | None:
        text = visitor.get(f"/schedules/{number}/in-force", htmx=True).text
        return re.search(r"in force on \S+ after ([0-9.]+) s", text)

    return float(wait_for(found, seconds=5, message="no beat had it in force")[1])


@pytest.mark.usefixtures("beat")
def test_an_edit_is_in_force_within_a_second_and_fires_nothing_by_itself(
    app: Flask, scheduler: Visitor, filled: Filled
) -> None:
    number = number_of(scheduler.post("/schedules", filled(kind="interval", every="1", period="hours")))
    waits = [in_force(scheduler, number)]
    for hours in ("2", "3", "4"):
        scheduler.post(f"/schedules/{number}", {"every": hours})
        waits.append(in_force(scheduler, number))
    scheduler.post(f"/schedules/{number}/disable")
    in_force(scheduler, number)
    scheduler.post(f"/schedules/{number}/enable")
    in_force(scheduler, number)
    assert max(waits) <= 1.0
    assert runs(app, number) == []


@pytest.mark.usefixtures("beat")
def test_it_fires_at_the_times_of_its_preview_but_the_skipped_one(
    app: Flask, scheduler: Visitor, filled: Filled
) -> None:
    # The grid begins some seconds from now, so that beat knows of the skipped one in time on a busy machine.
    start = (now() + timedelta(seconds=4)).replace(microsecond=0)
    fields = filled(kind="interval", every="2", period="seconds", start=start.isoformat(), max_runs="2")
    number = number_of(scheduler.post("/schedules", fields))
    previewed = [datetime.fromisoformat(due["utc"]) for due in scheduler.read(f"/schedules/{number}")["next"]]
    assert previewed == [start, start + timedelta(seconds=2)]
    assert scheduler.post_json(f"/schedules/{number}/skip").status_code == 200
    wait_for(lambda: len(runs(app, number)) == 3, seconds=20, message="it did not fire")
    states = runs(app, number)
    assert states[0] == (start, "skipped")
    assert [due for due, _state in states[1:]] == [start + timedelta(seconds=2), start + timedelta(seconds=4)]
    assert {state for _due, state in states[1:]} == {"queued"}


@pytest.mark.usefixtures("beat")
def test_a_one_time_schedule_fires_once_and_is_disabled(app: Flask, scheduler: Visitor, filled: Filled) -> None:
    at = (now() + timedelta(seconds=2)).replace(microsecond=0)
    number = number_of(scheduler.post("/schedules", filled(kind="clocked", at=at.isoformat())))
    wait_for(lambda: not scheduler.read(f"/schedules/{number}")["enabled"], seconds=15, message="it was not disabled")
    assert [due for due, _state in runs(app, number)] == [at]
    assert scheduler.post(f"/schedules/{number}/enable").status_code == 409
