"""Live pages: their indicator, and the partial that they load again."""

from __future__ import annotations

import re

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy_celery_beat.models import IntervalSchedule, Period, PeriodicTask

from tests.runs.making import make_run
from tests.visitors import Visitor
from webapp.database.engine import now
from webapp.extensions import db
from webapp.run_store.models import Run
from webapp.run_store.states import RunState


def a_schedule() -> int:
    every = IntervalSchedule(every=1, period=Period.HOURS)
    db.session.add(every)
    db.session.flush()
    made = PeriodicTask(name="hourly", task="add", schedule_model=every)
    db.session.add(made)
    db.session.commit()
    return int(made.id)


@pytest.mark.parametrize("name", ["overview", "list", "run", "schedule"])
def test_page_and_its_part_are_the_same(context: Flask, name: str) -> None:
    schedule = a_schedule()
    run = make_run(RunState.STARTED, started_at=now(), schedule_id=schedule, due_at=now())
    page, part, stream = {
        "overview": ("/", "/", "/live/runs"),
        "list": ("/runs", "/runs", "/live/runs"),
        "run": (f"/runs/{run}", f"/runs/{run}", f"/live/runs/{run}"),
        "schedule": (f"/schedules/{schedule}", f"/schedules/{schedule}/runs", "/live/runs"),
    }[name]
    viewer = Visitor(context, "viewer")
    whole = viewer.get(page).text
    assert f'data-stream="{stream}"' in whole
    assert "/hx-sse.min.js" in whole
    assert "/live.js" in whole
    asking = re.search(r'hx-get="([^"?]+)[^"]*"\s+hx-trigger="news from:#live"', whole)
    assert asking is not None
    assert asking[1] == part
    first = viewer.get(part, htmx=True)
    assert "<html" not in first.text
    assert 'hx-trigger="news from:#live"' in first.text
    tag = {"HX-PTag": first.headers["HX-PTag"]}
    assert viewer.get(part, htmx=True, headers=tag).status_code == 304
    db.session.execute(sa.update(Run).values(state=RunState.SUCCEEDED, ended_at=now()))
    db.session.commit()
    changed = viewer.get(part, htmx=True, headers=tag)
    assert changed.status_code == 200
    assert changed.headers["HX-PTag"] != tag["HX-PTag"]


def test_members_have_nothing_to_follow(context: Flask) -> None:
    member = Visitor(context, "member").get("/").text
    assert 'id="live"' not in member
    assert "/live.js" not in member


def test_part_of_a_schedule_leads_to_its_page_without_htmx(context: Flask) -> None:
    schedule = a_schedule()
    answer = Visitor(context, "viewer").get(f"/schedules/{schedule}/runs")
    assert (answer.status_code, answer.location) == (303, f"/schedules/{schedule}")
