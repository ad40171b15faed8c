"""Hours and days on clocks that change."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from webapp.schedules.calendar.grid import grid, hour_at


@pytest.mark.parametrize(
    ("zone", "first", "odd"),
    [
        ("Europe/Berlin", date(2027, 3, 25), {date(2027, 3, 28): "23 h"}),
        ("Europe/Berlin", date(2027, 10, 28), {date(2027, 10, 31): "25 h"}),
        ("Australia/Lord_Howe", date(2027, 4, 1), {date(2027, 4, 4): "24.5 h"}),
        ("Australia/Lord_Howe", date(2027, 9, 30), {date(2027, 10, 3): "23.5 h"}),
        ("America/Santiago", date(2027, 9, 1), {date(2027, 9, 5): "23 h"}),
        ("Asia/Kathmandu", date(2027, 3, 25), {}),
    ],
)
def test_days_are_as_long_as_they_are(zone: str, first: date, odd: dict[date, str]) -> None:
    found = grid(first, 7, ZoneInfo(zone))
    assert {day.date: day.odd for day in found.days if day.odd} == odd
    hours = sorted((hour for row in found.rows for hour in row.hours if hour), key=lambda hour: hour.start)
    assert hours[0].start == found.start
    assert [hour.end for hour in hours] == [*(hour.start for hour in hours[1:]), found.end]
    assert found.minutes == sum(day.minutes for day in found.days) == sum(hour.minutes for hour in hours)


def test_the_hour_that_autumn_repeats_in_berlin() -> None:
    found = grid(date(2027, 10, 31), 1, ZoneInfo("Europe/Berlin"))
    assert [(row.hour, row.again) for row in found.rows][1:5] == [(1, 0), (2, 0), (2, 1), (3, 0)]
    second = hour_at(datetime(2027, 10, 31, 1, 15, tzinfo=UTC), ZoneInfo("Europe/Berlin"))
    assert (second.hour, second.again, second.minutes) == (2, 1, 60)


def test_the_hour_that_spring_skips_in_berlin_and_lord_howe() -> None:
    berlin = grid(date(2027, 3, 28), 2, ZoneInfo("Europe/Berlin"))
    assert [row.hours[0] is None for row in berlin.rows if row.hour == 2] == [True]
    half = grid(date(2027, 10, 3), 1, ZoneInfo("Australia/Lord_Howe"))
    assert [hour.minutes for row in half.rows if row.hour == 2 for hour in row.hours if hour] == [30]
