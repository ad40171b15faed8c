from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from flask import Flask

from tests.visitors import Visitor
from webapp.extensions import db
from webapp.schedules import actions, service
from webapp.schedules.inquiries import rehearsal

CRONTABS = {"nightly": "30 2 * * *", "often": "*/30 * * * *", "off": "* * * * *"}


@pytest.fixture
def numbers(app: Flask) -> dict[str, int]:
    """Three schedules in Berlin, by name."""
    base = {"task": "add", "args": [1, 2], "kind": "crontab", "timezone": "Europe/Berlin"}
    with app.app_context():
        made = {
            name: service.create({**base, "name": name, "crontab": line, "enabled": name != "off", "tags": [name]}).id
            for name, line in CRONTABS.items()
        }
        db.session.remove()
    return made


@pytest.fixture
def viewer(app: Flask, numbers: dict[str, int]) -> Visitor:
    """A signed-in viewer in Kathmandu."""
    return Visitor(app, "viewer")


def read(visitor: Visitor, query: str) -> Any:
    return visitor.get(f"/schedules/rehearsal?{query}", accept="application/json").get_json()


def test_the_night_the_clocks_go_back(viewer: Visitor) -> None:
    # In Asia/Kathmandu, the viewer's time zone: 03:30 there is 23:45 in Berlin the evening before.
    found = read(viewer, "from=2027-10-31T03:30&to=2027-10-31T07:46")
    assert [(fire["name"], fire["local"][11:]) for fire in found["fires"]] == [
        ("often", "00:00:00+02:00"),
        ("often", "00:30:00+02:00"),
        ("often", "01:00:00+02:00"),
        ("often", "01:30:00+02:00"),
        ("often", "02:00:00+02:00"),
        ("nightly", "02:30:00+02:00"),
        ("often", "02:30:00+02:00"),
        ("often", "02:00:00+01:00"),
        ("often", "02:30:00+01:00"),
        ("often", "03:00:00+01:00"),
    ]
    assert found["total"] == 10


def test_what_daylight_saving_does_to_each_schedule_in_a_year(viewer: Visitor) -> None:
    found = read(viewer, "from=2027-01-01T00:00&to=2027-12-31T00:00")
    lines = {line["name"]: line for line in found["schedules"]}
    assert [(note["local"], note["note"]) for note in lines["nightly"]["notes"]] == [
        ("2027-03-28T03:00:00+02:00", "moved from 02:30, which does not exist that day"),
        ("2027-10-31T02:30:00+02:00", "clocks go back: first of two passes, runs only once"),
    ]
    assert [note["note"] for note in lines["often"]["notes"]] == [
        "clocks go forward: 2027-03-28 02:00 to 02:59 does not exist",
        *["clocks go back: first of two passes"] * 2,
        *["clocks go back: second of two passes"] * 2,
    ]
    assert (lines["nightly"]["fires"], lines["often"]["fires"]) == (364, 364 * 48)
    page = viewer.get("/schedules/rehearsal?from=2027-01-01T00:00&to=2027-12-31T00:00").text
    assert page.count('scope="row"') == 364
    assert "moved from 02:30, which does not exist that day" in page


@pytest.mark.parametrize(
    ("wish", "expected"),
    [("q=nightly", {"nightly"}), ("tag=often", {"often"}), ("tag=off", set()), ("", {"nightly", "often"})],
)
def test_only_some(viewer: Visitor, wish: str, expected: set[str]) -> None:
    found = read(viewer, f"from=2027-01-01T00:00&to=2027-01-04T00:00&{wish}")
    assert {line["name"] for line in found["schedules"]} == expected


def test_only_those_chosen(viewer: Visitor, numbers: dict[str, int]) -> None:
    found = read(viewer, f"from=2027-01-01T00:00&to=2027-01-04T00:00&id={numbers['nightly']}")
    assert [fire["name"] for fire in found["fires"]] == ["nightly"] * 3


def test_the_coming_week_by_day_and_hour(viewer: Visitor) -> None:
    page = viewer.get("/schedules/rehearsal").text
    assert "343 runs, first 50 shown" in page
    assert page.count('scope="row"') in (7, 8)


def test_what_is_skipped_or_paused_does_not_fire(app: Flask, viewer: Visitor, numbers: dict[str, int]) -> None:
    with app.app_context():
        actions.skip_next(numbers["nightly"])
        service.pause(numbers["often"], reason="moving")
        db.session.remove()
    lines = {line["name"]: line for line in read(viewer, "")["schedules"]}
    assert (lines["nightly"]["fires"], lines["nightly"]["held"]) == (6, 1)
    assert [note["held"] for note in lines["nightly"]["notes"]] == ["skipped in advance"]
    assert (lines["often"]["fires"], lines["often"]["held"]) == (0, 336)
    assert [note["held"] for note in lines["often"]["notes"]] == ["paused: moving, by the command line"]
    assert read(viewer, "")["total"] == 6


def test_as_a_table_for_spreadsheets(viewer: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    path = "/schedules/rehearsal.csv?from=2027-03-27T12:00&to=2027-03-28T12:00&q=nightly"
    answer = viewer.get(path)
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    (row,) = csv.DictReader(io.StringIO(answer.text))
    assert row["local"] == "2027-03-28T03:00:00+02:00"
    assert (row["name"], row["runs"], row["note"]) == (
        "nightly",
        "yes",
        "moved from 02:30, which does not exist that day",
    )
    monkeypatch.setattr("webapp.schedules.inquiries.rehearsal_export.MAX_EXPORTED", 5)
    rows = viewer.get("/schedules/rehearsal.csv").text.splitlines()
    assert len(rows) == 7
    assert "Only the first 5 runs are exported" in rows[-1]


def test_what_is_too_much_to_count_is_named(viewer: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "MAX_COUNTED", 0)
    assert "there are too many runs: often" in viewer.get("/schedules/rehearsal").text


def test_a_span_that_makes_no_sense(viewer: Visitor) -> None:
    for query, field in (("from=soon", "from"), ("to=2001-01-01", "to"), ("to=2099-01-01", "to")):
        assert viewer.get(f"/schedules/rehearsal?{query}").status_code == 422
        assert read(viewer, query)["fields"].keys() == {field}
        assert viewer.get(f"/schedules/rehearsal.csv?{query}").status_code == 422
