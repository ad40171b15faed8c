from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.schedules.acting import Visitor

Filled = Callable[..., dict[str, Any]]


@pytest.fixture(autouse=True)
def made(scheduler: Visitor, filled: Filled) -> None:
    scheduler.post("/schedules", filled(name="nightly", crontab="30 2 * * *"))
    scheduler.post("/schedules", filled(name="often", crontab="*/30 * * * *"))
    scheduler.post("/schedules", filled(name="off", crontab="* * * * *", enabled="0"))


def test_the_night_the_clocks_go_back(scheduler: Visitor) -> None:
    # On the clock of Asia/Kathmandu, where whoever asks lives: 03:30 there is 23:45 in Berlin the evening before.
    found = scheduler.read("/schedules/rehearsal?from=2027-10-31T03:30&to=2027-10-31T07:46")
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


def test_only_some(scheduler: Visitor) -> None:
    found = scheduler.read("/schedules/rehearsal?from=2027-01-01T00:00&to=2027-01-04T00:00&q=nightly")
    assert [fire["name"] for fire in found["fires"]] == ["nightly"] * 3


def test_the_coming_week_by_day_and_hour(scheduler: Visitor) -> None:
    page = scheduler.get("/schedules/rehearsal").text
    assert "343 fires" in page
    assert page.count('scope="row"') in (7, 8)


@pytest.mark.parametrize(("query", "field"), [("from=soon", "from"), ("to=2001-01-01", "to"), ("to=2099-01-01", "to")])
def test_a_span_that_makes_no_sense(scheduler: Visitor, query: str, field: str) -> None:
    assert scheduler.get(f"/schedules/rehearsal?{query}").status_code == 422
    assert scheduler.read(f"/schedules/rehearsal?{query}")["fields"].keys() == {field}
