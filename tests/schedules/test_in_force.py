from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from tests.visitors import Visitor
from webapp.database.engine import now
from webapp.extensions import db
from webapp.schedule_store.beat_models import Beat
from webapp.schedule_store.models import ScheduleDetail

pytestmark = pytest.mark.each_database

Filled = Callable[..., dict[str, Any]]


def beat(app: Flask, *, behind: int = 0, seconds: float = 0.2, seen: datetime | None = None) -> None:
    """A beat that applied the last edit (or one so many before it) some seconds after it was made."""
    with app.app_context():
        detail = db.session.scalars(sa.select(ScheduleDetail)).one()
        applied_at = detail.changed_at + timedelta(seconds=seconds)
        db.session.add(
            Beat(id="b", host="alpha", pid=1, leading=True, revision=detail.revision - behind, applied_at=applied_at,
                 seen_at=seen or now())
        )  # fmt: skip
        db.session.commit()
        db.session.remove()


def test_it_names_the_host_and_the_time_it_took_and_stops_asking(app: Flask, scheduler: Visitor, number: int) -> None:
    beat(app)
    answer = scheduler.get(f"/schedules/{number}/in-force", htmx=True)
    assert "in force on alpha after 0.2 s" in answer.text
    assert "hx-get" not in answer.text
    assert "in force on alpha" in scheduler.get(f"/schedules/{number}").text
    assert "in force on alpha" in scheduler.get("/schedules").text


def test_it_waits_at_first(app: Flask, scheduler: Visitor, number: int) -> None:
    beat(app, behind=1)
    answer = scheduler.get(f"/schedules/{number}/in-force", htmx=True)
    assert "waiting for beat" in answer.text
    assert "hx-get" in answer.text


def test_it_shows_that_no_beat_has_answered(app: Flask, scheduler: Visitor, number: int) -> None:
    with app.app_context():
        db.session.execute(sa.update(ScheduleDetail).values(changed_at=now() - timedelta(seconds=5)))
        db.session.commit()
        db.session.remove()
    assert "beat does not answer" in scheduler.get(f"/schedules/{number}/in-force", htmx=True).text


def test_a_beat_that_is_gone_counts_for_nothing(app: Flask, scheduler: Visitor, number: int) -> None:
    beat(app, seen=now() - timedelta(minutes=1))
    assert "in force on" not in scheduler.get(f"/schedules/{number}/in-force", htmx=True).text


def test_the_moment_of_an_edit_is_known_to_the_millisecond(app: Flask, scheduler: Visitor, number: int) -> None:
    before = now()
    scheduler.post(f"/schedules/{number}", {"crontab": "0 1 * * *"})
    with app.app_context():
        changed_at = db.session.scalars(sa.select(ScheduleDetail.changed_at)).one()
        db.session.remove()
    assert before - timedelta(milliseconds=5) <= changed_at <= now()
