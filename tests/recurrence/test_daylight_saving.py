"""Crontabs at clock changes, city by city."""

from __future__ import annotations

import itertools
from datetime import timedelta

import pytest

from tests.scheduler.asking import at, cron, local_times, notes
from webapp.recurrence import due_times


@pytest.mark.parametrize(("line", "fires"), [("0 * * * *", 73), ("*/15 * * * *", 292)])
@pytest.mark.parametrize(
    ("zone", "begin", "end"),
    [
        ("America/New_York", "2026-10-31T00:00:00-04:00", "2026-11-03T00:00:00-05:00"),
        ("Europe/Berlin", "2026-10-24T00:00:00+02:00", "2026-10-27T00:00:00+01:00"),
    ],
)
def test_new_york_and_berlin_lose_no_hour_in_three_days_over_fall_back(
    line: str, fires: int, zone: str, begin: str, end: str
) -> None:
    just_before = at(begin) - timedelta(seconds=1)
    found = [due.utc for due in due_times(cron(line, zone), just_before, 1_000) if due.utc < at(end)]
    assert len(found) == fires
    assert len({later - earlier for earlier, later in itertools.pairwise(found)}) == 1, "an even rhythm"


def test_berlin_half_hours_run_through_both_passes_of_the_repeated_hour() -> None:
    half_hourly = cron("*/30 * * * *", "Europe/Berlin")
    assert local_times(half_hourly, "2027-10-30T23:30:00Z", 5) == [
        "2027-10-31 02:00+02:00",
        "2027-10-31 02:30+02:00",
        "2027-10-31 02:00+01:00",
        "2027-10-31 02:30+01:00",
        "2027-10-31 03:00+01:00",
    ]
    assert notes(half_hourly, "2027-10-30T23:30:00Z", 5) == [
        "clocks go back: first of two passes",
        "clocks go back: first of two passes",
        "clocks go back: second of two passes",
        "clocks go back: second of two passes",
        "",
    ]


@pytest.mark.parametrize(("zone", "before"), [("America/New_York", "2026-10-31"), ("Europe/Berlin", "2026-10-24")])
@pytest.mark.parametrize(("line", "clock"), [("0 12 * * *", "12:00"), ("15 4 * * *", "04:15"), ("30 0 * * *", "00:30")])
def test_daily_times_over_fall_back_are_on_time_once_each(zone: str, before: str, line: str, clock: str) -> None:
    found = due_times(cron(line, zone), at(f"{before}T00:00:00Z") - timedelta(hours=8), 4)
    assert [due.local.strftime("%H:%M") for due in found] == [clock] * 4
    days = [due.local.date() for due in found]
    assert days == [days[0] + timedelta(days=number) for number in range(4)]


def test_berlin_time_skipped_in_spring_fires_once_right_after_the_gap() -> None:
    nightly = cron("30 2 * * *", "Europe/Berlin")
    assert local_times(nightly, "2027-03-27T12:00:00Z", 2) == ["2027-03-28 03:00+02:00", "2027-03-29 02:30+02:00"]
    assert notes(nightly, "2027-03-27T12:00:00Z", 2) == ["moved from 02:30, which does not exist that day", ""]


def test_berlin_several_skipped_times_and_the_one_after_the_gap_fire_together() -> None:
    assert local_times(cron("10,50 2 * * *", "Europe/Berlin"), "2027-03-27T12:00:00Z", 2) == [
        "2027-03-28 03:00+02:00",
        "2027-03-29 02:10+02:00",
    ]
    assert notes(cron("10,50 2 * * *", "Europe/Berlin"), "2027-03-27T12:00:00Z", 1) == [
        "moved from 02:10 and later times, which do not exist that day"
    ]
    with_three = cron("0 2,3 * * *", "Europe/Berlin")
    assert local_times(with_three, "2027-03-27T12:00:00Z", 2) == ["2027-03-28 03:00+02:00", "2027-03-29 02:00+02:00"]
    assert notes(with_three, "2027-03-27T12:00:00Z", 1) == ["also for 02:00, which does not exist that day"]


def test_berlin_wildcard_in_a_skipped_hour_waits_for_the_next_day_and_says_why() -> None:
    quarters = cron("*/15 2 * * *", "Europe/Berlin")
    assert local_times(quarters, "2027-03-27T12:00:00Z", 1) == ["2027-03-29 02:00+02:00"]
    assert notes(quarters, "2027-03-27T12:00:00Z", 2) == [
        "clocks go forward: 2027-03-28 02:00 to 02:59 does not exist",
        "",
    ]


@pytest.mark.parametrize(
    ("line", "zone", "after", "expected"),
    [
        ("30 1 * * *", "America/New_York", "2026-10-31T12:00:00Z", "2026-11-01 01:30-04:00"),
        ("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", "2026-10-25 02:30+02:00"),
    ],
)
def test_new_york_and_berlin_fixed_time_in_the_repeated_hour_fires_the_first_time_only(
    line: str, zone: str, after: str, expected: str
) -> None:
    first, second = due_times(cron(line, zone), at(after), 2)
    assert first.local.isoformat(" ", "minutes") == expected
    assert first.note == "clocks go back: first of two passes, runs only once"
    assert second.utc - first.utc == timedelta(hours=25)


@pytest.mark.parametrize("minute", ["0-59/30", "0,*/30", "0,30"])
def test_berlin_a_step_that_does_not_begin_with_a_star_is_fixed_as_for_debians_cron(minute: str) -> None:
    assert local_times(cron(f"{minute} 2 * * *", "Europe/Berlin"), "2027-10-30T23:30:00Z", 3) == [
        "2027-10-31 02:00+02:00",
        "2027-10-31 02:30+02:00",
        "2027-11-01 02:00+01:00",
    ]


def test_berlin_asked_within_the_second_pass_a_fixed_time_does_not_come_again() -> None:
    assert local_times(cron("0,30 2,3 * * *", "Europe/Berlin"), "2027-10-31T01:10:00Z", 1) == ["2027-10-31 03:00+01:00"]


def test_lord_howe_repeats_and_skips_half_an_hour() -> None:
    zone = "Australia/Lord_Howe"
    assert local_times(cron("*/15 * * * *", zone), "2027-04-03T14:45:00Z", 3) == [
        "2027-04-04 01:30+10:30",
        "2027-04-04 01:45+10:30",
        "2027-04-04 02:00+10:30",
    ]
    assert local_times(cron("45 1 * * *", zone), "2027-04-03T00:00:00Z", 2) == [
        "2027-04-04 01:45+11:00",
        "2027-04-05 01:45+10:30",
    ]
    assert local_times(cron("15 2 * * *", zone), "2027-10-02T00:00:00Z", 1) == ["2027-10-03 02:30+11:00"]
    assert local_times(cron("45 * * * *", zone), "2027-10-02T15:16:00Z", 1) == ["2027-10-03 02:45+11:00"]


def test_chatham_changes_at_a_quarter_to_three() -> None:
    zone = "Pacific/Chatham"
    assert local_times(cron("0 3 * * *", zone), "2027-09-25T00:00:00Z", 1) == ["2027-09-26 03:45+13:45"]
    assert local_times(cron("0 3 * * *", zone), "2027-04-03T00:00:00Z", 2) == [
        "2027-04-04 03:00+13:45",
        "2027-04-05 03:00+12:45",
    ]
    assert local_times(cron("0 * * * *", zone), "2027-04-03T13:20:00Z", 2) == [
        "2027-04-04 03:00+12:45",
        "2027-04-04 04:00+12:45",
    ]


def test_troll_skips_and_repeats_two_hours() -> None:
    zone = "Antarctica/Troll"
    assert local_times(cron("30 1,2 * * *", zone), "2027-03-27T12:00:00Z", 2) == [
        "2027-03-28 03:00+02:00",
        "2027-03-29 01:30+02:00",
    ]
    assert local_times(cron("0 * * * *", zone), "2027-10-30T22:00:00Z", 6) == [
        "2027-10-31 01:00+02:00",
        "2027-10-31 02:00+02:00",
        "2027-10-31 01:00+00:00",
        "2027-10-31 02:00+00:00",
        "2027-10-31 03:00+00:00",
        "2027-10-31 04:00+00:00",
    ]


def test_santiago_has_no_midnight_on_the_day_of_its_spring_change() -> None:
    zone = "America/Santiago"
    daily = cron("0 0 * * *", zone)
    assert local_times(daily, "2027-09-04T12:00:00Z", 2) == ["2027-09-05 01:00-03:00", "2027-09-06 00:00-03:00"]
    assert notes(daily, "2027-09-04T12:00:00Z", 1) == ["moved from 00:00, which does not exist that day"]
    assert local_times(cron("30 23 * * sat", zone), "2027-04-03T00:00:00Z", 2) == [
        "2027-04-03 23:30-03:00",
        "2027-04-10 23:30-04:00",
    ]


def test_dublin_with_its_negative_winter_time_is_like_any_other() -> None:
    zone = "Europe/Dublin"
    assert local_times(cron("30 1 * * *", zone), "2027-03-27T12:00:00Z", 1) == ["2027-03-28 02:00+01:00"]
    assert local_times(cron("30 1 * * *", zone), "2027-10-30T12:00:00Z", 2) == [
        "2027-10-31 01:30+01:00",
        "2027-11-01 01:30+00:00",
    ]


def test_apia_makes_up_for_the_day_that_samoa_left_out() -> None:
    daily = cron("30 10 * * *", "Pacific/Apia")
    assert local_times(daily, "2011-12-28T22:00:00Z", 3) == [
        "2011-12-29 10:30-10:00",
        "2011-12-31 00:00+14:00",
        "2011-12-31 10:30+14:00",
    ]
    assert notes(daily, "2011-12-28T22:00:00Z", 2) == ["", "moved from 2011-12-30 10:30, which does not exist"]
    assert local_times(cron("0 * * * *", "Pacific/Apia"), "2011-12-30T09:00:00Z", 2) == [
        "2011-12-31 00:00+14:00",
        "2011-12-31 01:00+14:00",
    ]


def test_kathmandu_birthdays_at_eight_never_move() -> None:
    found = due_times(cron("0 8 * * *", "Asia/Kathmandu"), at("2026-12-31T00:00:00Z"), 366)
    assert {due.utc.strftime("%H:%M") for due in found} == {"02:15"}
    assert {due.note for due in found} == {""}
