"""Rules that can never work are refused, at the field that is wrong."""

from __future__ import annotations

import math
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from tests.scheduler.asking import at
from webapp.recurrence import (
    PERIODS,
    SOLAR_EVENTS,
    Crontab,
    Interval,
    OneTime,
    Recurrence,
    RecurrenceError,
    Solar,
    due_times,
    validate_recurrence,
)

HOURLY = Crontab.from_line("0 * * * *")
NEW_YEAR = at("2027-01-01T00:00:00Z")
NAIVE = at("2027-01-01T00:00:00")


@pytest.mark.parametrize(
    ("recurrence", "field"),
    [
        (Recurrence(HOURLY, "Europe/Atlantis"), "timezone"),
        (Recurrence(HOURLY, ""), "timezone"),
        (Recurrence(HOURLY, "../../etc/passwd"), "timezone"),
        (Recurrence(HOURLY, "Europe"), "timezone"),
        (Recurrence(Crontab(minute="61")), "minute"),
        (Recurrence(Interval(0, "seconds")), "every"),
        (Recurrence(Interval(-5, "minutes")), "every"),
        (Recurrence(Interval(10**15, "days")), "every"),
        (Recurrence(Interval(1, "weeks")), "period"),
        (Recurrence(Solar("moonrise", 0, 0)), "event"),
        (Recurrence(Solar("sunrise", 90.5, 0)), "latitude"),
        (Recurrence(Solar("sunrise", math.nan, 0)), "latitude"),
        (Recurrence(Solar("sunrise", 0, -181)), "longitude"),
        (Recurrence(Solar("sunrise", 0, math.inf)), "longitude"),
        (Recurrence(Solar("sunrise", 90, 0)), "event"),
        (Recurrence(OneTime(NAIVE)), "at"),
        (Recurrence(OneTime(at("0001-01-01T00:00:00Z"))), "at"),
        (Recurrence(OneTime(NEW_YEAR), end=at("2026-12-31T00:00:00Z")), "at"),
        (Recurrence(OneTime(NEW_YEAR), start=at("2027-01-01T00:00:01Z")), "at"),
        (Recurrence(HOURLY, start=NAIVE), "start"),
        (Recurrence(HOURLY, end=NAIVE), "end"),
        (Recurrence(HOURLY, end=at("9999-12-31T23:00:00Z")), "end"),
        (Recurrence(HOURLY, anchor=NAIVE), "anchor"),
        (Recurrence(HOURLY, start=NEW_YEAR, end=NEW_YEAR), "end"),
        (Recurrence(HOURLY, start=NEW_YEAR, end=at("2026-12-31T00:00:00Z")), "end"),
        (Recurrence(HOURLY, start=at("2027-01-01T00:10:00Z"), end=at("2027-01-01T00:50:00Z")), "end"),
        (Recurrence(HOURLY, max_runs=0), "max_runs"),
        (Recurrence(HOURLY, jitter=-0.5), "jitter"),
        (Recurrence(HOURLY, jitter=math.nan), "jitter"),
        (Recurrence(HOURLY, jitter=math.inf), "jitter"),
    ],
)
def test_it_refuses_what_can_never_work(recurrence: Recurrence, field: str) -> None:
    with pytest.raises(RecurrenceError) as refused:
        validate_recurrence(recurrence)
    assert refused.value.field == field
    assert str(refused.value)
    assert "\n" not in str(refused.value)


def test_berlin_start_and_end_in_the_repeated_hour_are_compared_as_instants() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    first = datetime(2027, 10, 31, 2, 30, tzinfo=berlin)
    second = datetime(2027, 10, 31, 2, 10, tzinfo=berlin, fold=1)
    every_minute = Crontab.from_line("* * * * *")
    validate_recurrence(Recurrence(every_minute, "Europe/Berlin", start=first, end=second))
    assert len(due_times(Recurrence(every_minute, "Europe/Berlin", start=first, end=second), NEW_YEAR, 99)) == 41
    with pytest.raises(RecurrenceError, match="after the start"):
        validate_recurrence(Recurrence(every_minute, "Europe/Berlin", start=second, end=first))


@pytest.mark.parametrize(
    "recurrence",
    [
        Recurrence(HOURLY),
        Recurrence(HOURLY, "Pacific/Apia", start=NEW_YEAR, end=at("2027-01-01T00:30:00Z"), max_runs=1, jitter=30),
        Recurrence(OneTime(NEW_YEAR), start=NEW_YEAR, end=at("2027-01-02T00:00:00Z")),
        *(Recurrence(Interval(1, period)) for period in PERIODS),
        *(Recurrence(Solar(event, 27.7, 85.3), "Asia/Kathmandu") for event in SOLAR_EVENTS),
    ],
)
def test_it_accepts_what_works(recurrence: Recurrence) -> None:
    validate_recurrence(recurrence)
    assert due_times(recurrence, datetime.fromisoformat("2026-12-31T00:00:00Z"), 1)


@pytest.mark.parametrize(
    ("recurrence", "field"),
    [
        (Recurrence(Interval(0, "seconds")), "every"),
        (Recurrence(Interval(1, "weeks")), "period"),
        (Recurrence(Solar("moonrise", 0, 0)), "event"),
        (Recurrence(HOURLY, "Europe/Atlantis"), "timezone"),
        (Recurrence(Crontab(hour="x")), "hour"),
    ],
)
def test_an_unchecked_broken_row_is_refused_by_field_not_by_a_stray_error(recurrence: Recurrence, field: str) -> None:
    with pytest.raises(RecurrenceError) as refused:
        due_times(recurrence, NEW_YEAR, 1)
    assert refused.value.field == field
