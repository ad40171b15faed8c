from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from flask import Flask

from tests.support import reading
from tests.visitors import Visitor, number_of
from webapp.extensions import db
from webapp.schedule_store.reader import EntryReader
from webapp.schedule_store.rows import rows_by_id

Filled = Callable[..., dict[str, Any]]


def test_it_shows_ten_times_and_that_nothing_runs_now(scheduler: Visitor, filled: Filled) -> None:
    answer = scheduler.post("/schedules/preview", filled(name=""), htmx=True)
    assert answer.status_code == 200
    assert "<html" not in answer.text
    assert answer.text.count('class="due-local"') == 10
    assert "Every day at 08:30, Europe/Berlin time" in answer.text
    assert "Saving does not start a run" in answer.text


def test_it_marks_what_daylight_saving_does(scheduler: Visitor, filled: Filled) -> None:
    fields = filled(crontab="*/30 * * * *", start="2027-10-31T01:30", timezone="Europe/Berlin")
    answer = scheduler.post_json("/schedules/preview", fields)
    local = [due["local"] for due in answer.get_json()["next"][:7]]
    assert local == [
        "2027-10-31T01:30:00+02:00",
        "2027-10-31T02:00:00+02:00",
        "2027-10-31T02:30:00+02:00",
        "2027-10-31T02:00:00+01:00",
        "2027-10-31T02:30:00+01:00",
        "2027-10-31T03:00:00+01:00",
        "2027-10-31T03:30:00+01:00",
    ]
    page = scheduler.post("/schedules/preview", fields, htmx=True).text
    assert "clocks go back: first of two passes" in page
    assert "clocks go back: second of two passes" in page


def test_an_edit_shows_old_beside_new(scheduler: Visitor, filled: Filled) -> None:
    number = number_of(scheduler.post("/schedules", filled()))
    fields = {**filled(crontab="45 9 * * *"), "schedule_id": str(number)}
    page = scheduler.post("/schedules/preview", fields, htmx=True).text
    assert "After saving" in page
    assert "Current" in page
    assert page.count('class="due-local"') == 20
    answer = scheduler.post_json("/schedules/preview", fields).get_json()
    assert [due["local"][11:16] for due in answer["before"]] == ["08:30"] * 10
    assert [due["local"][11:16] for due in answer["next"]] == ["09:45"] * 10


@pytest.mark.parametrize(
    ("field", "value"),
    [("crontab", "0 0 31 2 *"), ("timezone", "Mars/Olympus"), ("end", "2001-01-01"), ("jitter", "-1")],
)
def test_errors_of_times_are_those_of_saving(scheduler: Visitor, filled: Filled, field: str, value: str) -> None:
    fields = filled(start="2026-01-01", **{field: value})
    page = scheduler.post("/schedules/preview", fields, htmx=True).text
    assert 'class="preview-error"' in page
    saved = scheduler.post_json("/schedules", fields).get_json()
    assert saved["fields"][field] in page.replace("&#39;", "'")


def test_without_scripts_the_whole_form_comes_back(scheduler: Visitor, filled: Filled) -> None:
    page = scheduler.post("/schedules/preview", filled(description="kept")).text
    assert "<html" in page
    assert "kept</textarea>" in page
    assert page.count('class="due-local"') == 10


def test_the_preview_is_what_is_saved(scheduler: Visitor, filled: Filled) -> None:
    fields = filled(kind="interval", every="10", period="minutes")
    shown = scheduler.post_json("/schedules/preview", fields).get_json()["next"]
    number = number_of(scheduler.post("/schedules", fields))
    assert scheduler.read(f"/schedules/{number}")["next"][:9] in (shown[:9], shown[1:])


def test_it_shows_how_the_task_is_called_and_what_is_wrong_with_that(scheduler: Visitor, filled: Filled) -> None:
    page = scheduler.post("/schedules/preview", filled(args="[1]"), htmx=True).text
    assert "add(num1: float, num2: float)" in page
    assert "missing a required argument" in page


def test_the_preview_shows_the_moments_at_which_beat_will_fire(app: Flask, scheduler: Visitor, filled: Filled) -> None:
    fields = filled(kind="interval", every="5", period="seconds", jitter="60", start="2027-01-01T10:00")
    shown = scheduler.post_json("/schedules/preview", fields).get_json()["next"]
    moments = [datetime.fromisoformat(due["fires_at"]) for due in shown]
    page = scheduler.post("/schedules/preview", fields, htmx=True).text
    local = moments[0].astimezone(ZoneInfo("Europe/Berlin"))
    assert f"with jitter: {local:%a %Y-%m-%d %H:%M:%S}" in page
    number = number_of(scheduler.post("/schedules", fields))
    asked = ["schedules", "next", "Sums", "--json", "--after", "2026-12-31T00:00:00Z"]
    printed = app.test_cli_runner().invoke(args=asked).output
    assert json.loads(printed) == shown
    with app.app_context(), reading():
        (row,) = rows_by_id(db.session.connection(), [number])
        entry = EntryReader(lambda _name: True).read(row, 0.0)
        firing = [entry.firing(datetime.fromisoformat(due["utc"]).timestamp()) for due in shown]
    assert firing == [moment.timestamp() for moment in moments]
