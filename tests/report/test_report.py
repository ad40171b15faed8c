"""The morning report: what it counts, its first line, and its page."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from flask import Flask

from tests.runs.making import make_run
from tests.visitors import Visitor
from webapp.database.engine import now
from webapp.report import morning
from webapp.run_store.states import RunState
from webapp.schedules import service

pytestmark = pytest.mark.each_database

KATHMANDU = ZoneInfo("Asia/Kathmandu")
DAY = date(2027, 3, 2)
NIGHT = datetime(2027, 3, 1, 22, 0, tzinfo=UTC)
AFTER = datetime(2027, 3, 2, 6, 0, tzinfo=UTC)


def ran(state: RunState, at: datetime = NIGHT, **values: Any) -> str:
    return make_run(state, created_at=at, **values)


def test_it_covers_a_day_of_the_wall_clock() -> None:
    assert morning.day_of(datetime(2027, 3, 2, 2, 14, tzinfo=UTC), KATHMANDU) == date(2027, 3, 1)
    assert morning.day_of(datetime(2027, 3, 2, 2, 15, tzinfo=UTC), KATHMANDU) == DAY
    start, end = morning.period(date(2027, 3, 28), ZoneInfo("Europe/Berlin"))
    assert end.astimezone(UTC) - start.astimezone(UTC) == timedelta(hours=23)


def test_the_first_line_suffices(context: Flask) -> None:
    assert morning.report(DAY, KATHMANDU, AFTER).headline == "Nothing ran."
    for _ in range(3):
        ran(RunState.SUCCEEDED)
    ran(RunState.FAILED, NIGHT - timedelta(days=1), error="E: another night")
    calm = morning.report(DAY, KATHMANDU, AFTER)
    assert (calm.headline, calm.is_calm) == ("3 runs, all succeeded.", True)
    ran(RunState.FAILED, error="ValueError: no")
    ran(RunState.MISSED, schedule_id=7, schedule_name="nightly", due_at=NIGHT, reason="beat was not running")
    ran(RunState.UNCONFIRMED)
    ran(
        RunState.SUCCEEDED, schedule_id=8, schedule_name="hourly", due_at=NIGHT, started_at=NIGHT + timedelta(minutes=9)
    )
    found = morning.report(DAY, KATHMANDU, AFTER)
    assert found.headline == "5 runs ended, 1 failed, 1 missed, 1 unconfirmed, 1 late. 1 kind of failure open."
    assert not found.is_calm
    assert [(one.name, one.count, one.reason) for one in found.silent] == [("nightly", 1, "beat was not running")]
    assert [(one.name, round(one.seconds)) for one in found.late] == [("hourly", 540)]


def test_it_says_who_changed_what_and_what_comes(context: Flask) -> None:
    wish = {"name": "every hour", "task": "add", "kind": "interval", "every": 1, "period": "hours", "args": [1, 2]}
    made = service.create(wish).id
    scheduler = Visitor(context, "scheduler")
    assert scheduler.post(f"/schedules/{made}/disable", page=f"/schedules/{made}").status_code in (200, 204, 303)
    assert scheduler.post(f"/schedules/{made}/enable", page=f"/schedules/{made}").status_code in (200, 204, 303)
    today = (now() + timedelta(hours=16)).astimezone(KATHMANDU).date()
    found = morning.report(today, KATHMANDU, now())
    assert [entry.object_name for entry in found.changes][:2] == ["every hour", "every hour"]
    assert found.coming is not None
    assert [(one.schedule.name, one.fires) for one in found.coming] == [("every hour", 24)]
    assert morning.report(today - timedelta(days=7), KATHMANDU, now()).coming is None
    assert "Next 24 hours" in scheduler.get(scheduler.get("/report").headers["Location"]).text
    assert "Next 24 hours" not in scheduler.get(f"/report/{today - timedelta(days=7)}").text


def test_its_page(context: Flask) -> None:
    viewer = Visitor(context, "viewer")
    newest = viewer.get("/report").headers["Location"]
    assert "Nothing ran." in viewer.get(newest).text
    at = datetime.fromisoformat(viewer.read(newest)["to"]) - timedelta(hours=1)
    run_id = ran(RunState.FAILED, at, error="ValueError: <b>no</b>")
    ran(RunState.SKIPPED, at, schedule_id=7, schedule_name="nightly", due_at=at, reason="<i>paused</i>")
    text = viewer.get(newest).text
    for part in ("1 run ended, 1 failed. 1 kind of failure open.", f"/runs/{run_id}", "&lt;b&gt;no", "&lt;i&gt;paused"):
        assert part in text
    assert viewer.read(newest)["headline"] == "1 run ended, 1 failed. 1 kind of failure open."
    assert "Not begun yet" in viewer.get("/report/2199-01-01").text


@pytest.mark.parametrize("day", ["2027-02-30", "20270301", "yesterday", "0001-01-01", "9999-12-31"])
def test_another_address_is_nothing(context: Flask, day: str) -> None:
    assert Visitor(context, "viewer").get(f"/report/{day}").status_code == 404
