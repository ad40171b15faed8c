"""Past hours of the calendar: their runs by state, and no rescheduling."""

from __future__ import annotations

import re
import uuid
from datetime import datetime, timedelta
from typing import Any

import pytest
from flask import Flask

from tests.schedules.test_calendar import add_rows, make, read
from tests.visitors import Visitor
from webapp.database.engine import now
from webapp.run_store.models import Run
from webapp.schedules.calendar import past

pytestmark = pytest.mark.each_database


@pytest.fixture(autouse=True)
def hour(monkeypatch: pytest.MonkeyPatch) -> datetime:
    """The calendar is looked at at ten past noon in UTC; returns that noon."""
    noon = (now() + timedelta(days=1)).replace(hour=12, minute=0, second=0, microsecond=0)
    for module in ("views", "moving_views"):
        monkeypatch.setattr(f"webapp.schedules.calendar.{module}.now", lambda: noon + timedelta(minutes=10, seconds=20))
    return noon


def due(number: int, at: datetime, state: str, **values: Any) -> Run:
    return Run(
        id=str(uuid.uuid4()), task="add", state=state, schedule_id=number, schedule_name=f"s{number}",
        due_at=at, **{"created_at": at, **values},
    )  # fmt: skip


def test_hours_that_have_passed_show_what_happened(app: Flask, scheduler: Visitor, hour: datetime) -> None:
    base = {"crontab": "30 * * * *"}
    first, second = make(app, {**base, "name": "s1", "tags": ["mine"]}, {**base, "name": "s2"})
    passed = hour - timedelta(hours=3)
    add_rows(
        app,
        due(first, passed, "succeeded"),
        due(first, passed + timedelta(minutes=59, seconds=59.5), "failed"),
        due(second, passed + timedelta(minutes=30), "missed", created_at=hour),
        # Written down days ago; the next is for a time that has not come, and none is for a time that was due.
        due(second, passed + timedelta(minutes=31), "skipped", created_at=hour - timedelta(days=3)),
        due(second, hour + timedelta(hours=2), "skipped"),
        Run(id=str(uuid.uuid4()), task="add", state="failed", schedule_id=first, created_at=passed),
        Run(id=str(uuid.uuid4()), task="add", state="failed", created_at=passed),
        due(first, hour, "succeeded"),
    )
    week = "/schedules/calendar?zone=UTC"
    hours = {datetime.fromisoformat(one["at"]): one for one in read(scheduler, week)["hours"]}
    states = {"succeeded": 1, "failed": 1, "missed": 1, "skipped": 1}
    assert (hours[passed]["fires"], hours[passed]["runs"]) == (0, states)
    assert (hours[hour - timedelta(hours=2)]["fires"], hours[hour - timedelta(hours=2)]["runs"]) == (0, {})
    # Of the hour that has begun: what happened so far, and what is ahead.
    assert (hours[hour]["fires"], hours[hour]["runs"]) == (2, {"succeeded": 1})
    assert (hours[hour + timedelta(hours=2)]["fires"], hours[hour + timedelta(hours=2)]["runs"]) == (2, {})
    mine = read(scheduler, f"{week}&tag=mine")
    assert [one["runs"] for one in mine["hours"] if one["runs"]] == [{"succeeded": 1, "failed": 1}, {"succeeded": 1}]
    page = scheduler.get(week).text
    assert re.search(
        r'calendar-wrong"><a href="[^"]*">4<[^>]*> runs due,</span>.*?1 failed, 1 skipped, 1 missed<', page
    )
    assert "1 so far" in page


def test_an_hour_that_has_passed_offers_no_move(app: Flask, scheduler: Visitor, hour: datetime) -> None:
    number = make(app, {"name": "s1", "crontab": "30 * * * *"})[0]
    passed = hour - timedelta(hours=2)
    at = passed + timedelta(minutes=30)
    add_rows(app, due(number, at, "failed"), due(99, at, "succeeded"), due(98, passed + timedelta(hours=1), "failed"))
    asked = f"zone=UTC&at={passed:%Y-%m-%dT%H:%MZ}"
    page = scheduler.get(f"/schedules/calendar/hour?{asked}").text
    assert re.findall(r'class="schedule-name" href="[^"]*">([^<]*)<', page) == ["s1", "s99"]
    assert "Runs that were due and their results." in page
    for offer in ("calendar/move", "/minute/", 'name="ids"'):
        assert offer not in page
    found = read(scheduler, f"/schedules/calendar/hour?{asked}")
    assert (found["schedules"], found["count"], found["fires"]) == ([], 0, 0)
    assert found["happened"][0] == {"id": number, "name": "s1", "runs": {"failed": 1}}
    minute = {"zone": "UTC", "at": f"{at:%Y-%m-%dT%H:%MZ}", "all": True}
    answer = scheduler.post_json("/schedules/calendar/move", minute)
    assert (answer.status_code, list(answer.get_json()["fields"])) == (422, ["at"])


def test_bursts_of_today_are_those_ahead(app: Flask, scheduler: Visitor, hour: datetime) -> None:
    make(app, *({"name": f"b{place}", "crontab": "9 12 * * *"} for place in range(12)))
    week = "/schedules/calendar?zone=UTC"
    (burst,) = read(scheduler, week)["bursts"]
    assert (burst["fires"], len(burst["days"])) == (12, 6)
    assert datetime.fromisoformat(burst["at"]) == hour + timedelta(days=1, minutes=9)


@pytest.mark.parametrize("walked", [2, 5])
def test_more_runs_than_are_looked_at_are_not_guessed(
    app: Flask, scheduler: Visitor, monkeypatch: pytest.MonkeyPatch, hour: datetime, walked: int
) -> None:
    monkeypatch.setattr(past, "MAX_RUNS", walked)
    number = make(app, {"name": "s1", "crontab": "30 * * * *"})[0]
    older, newer = hour - timedelta(hours=3), hour - timedelta(hours=2)
    add_rows(app, *(due(number, at + timedelta(minutes=n), "failed") for at in (older, newer) for n in (1, 2)))
    week = "/schedules/calendar?zone=UTC"
    hours = {datetime.fromisoformat(one["at"]): one["runs"] for one in read(scheduler, week)["hours"]}
    assert hours[older] == (None if walked == 2 else {"failed": 2})
    assert hours[hour + timedelta(hours=3)] == {}
    assert ("too many to count" in scheduler.get(week).text) is (walked == 2)
