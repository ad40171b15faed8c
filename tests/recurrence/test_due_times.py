"""Due times of each kind and what bounds them: real days, start, end, number of runs, the grid, one time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from tests.scheduler.asking import at, between, cron, local_times
from webapp.recurrence import (
    Crontab,
    Interval,
    OneTime,
    Recurrence,
    RecurrenceError,
    due_times,
    next_due,
    next_due_timestamp,
)


def test_29_february_fires_on_real_days_only_also_across_2100() -> None:
    assert local_times(cron("0 9 29 2 *"), "2095-01-01T00:00:00Z", 3) == [
        "2096-02-29 09:00+00:00",
        "2104-02-29 09:00+00:00",
        "2108-02-29 09:00+00:00",
    ]


def test_29_february_on_a_monday_waits_forty_years_across_2100() -> None:
    assert local_times(cron("0 0 29 2 mon"), "2072-03-01T00:00:00Z", 1) == ["2112-02-29 00:00+00:00"]


def test_day_31_fires_in_the_seven_months_that_have_it() -> None:
    found = due_times(cron("0 0 31 * *"), at("2027-01-01T00:00:00Z"), 7)
    assert [due.local.month for due in found] == [1, 3, 5, 7, 8, 10, 12]


def test_day_of_month_and_day_of_week_must_both_match() -> None:
    assert local_times(cron("0 0 13 * fri"), "2027-01-01T00:00:00Z", 2) == [
        "2027-08-13 00:00+00:00",
        "2028-10-13 00:00+00:00",
    ]


def test_start_10_25_with_every_ten_minutes_is_first_due_at_10_30() -> None:
    recurrence = Recurrence(Crontab.from_line("*/10 * * * *"), start=at("2027-01-01T10:25:00Z"))
    assert local_times(recurrence, "2027-01-01T09:00:00Z", 1) == ["2027-01-01 10:30+00:00"]


def test_start_given_with_a_zone_is_that_instant() -> None:
    start = datetime(2027, 1, 1, 10, 25, tzinfo=timezone(timedelta(hours=5, minutes=45)))
    recurrence = Recurrence(Crontab.from_line("*/10 * * * *"), start=start)
    assert local_times(recurrence, "2027-01-01T00:00:00Z", 1) == ["2027-01-01 04:40+00:00"]


def test_one_time_given_with_a_zone_is_that_instant() -> None:
    one_time = Recurrence(OneTime(at("2027-01-01T10:25:00+05:45")))
    assert local_times(one_time, "2027-01-01T00:00:00Z", 2) == ["2027-01-01 04:40+00:00"]


def test_end_10_25_on_every_ten_minutes_is_last_due_at_10_20() -> None:
    recurrence = Recurrence(Crontab.from_line("*/10 * * * *"), end=at("2027-01-01T10:25:00Z"))
    assert local_times(recurrence, "2027-01-01T10:05:00Z", 9) == ["2027-01-01 10:10+00:00", "2027-01-01 10:20+00:00"]


def test_a_due_time_exactly_at_start_or_end_is_included() -> None:
    every_ten = Crontab.from_line("*/10 * * * *")
    recurrence = Recurrence(every_ten, start=at("2027-01-01T10:00:00Z"), end=at("2027-01-01T10:10:00Z"))
    assert local_times(recurrence, "2026-01-01T00:00:00Z", 9) == ["2027-01-01 10:00+00:00", "2027-01-01 10:10+00:00"]


def test_one_time_is_due_once_also_for_a_beat_that_comes_back_30_s_later() -> None:
    moment = at("2027-01-01T10:00:00Z")
    one_time = Recurrence(OneTime(moment))
    assert [due.utc for due in due_times(one_time, moment - timedelta(seconds=1), 5)] == [moment]
    assert next_due(one_time, moment) is None
    assert next_due(one_time, moment + timedelta(seconds=30)) is None


def test_hourly_interval_fires_however_often_beat_restarts() -> None:
    created = at("2027-01-01T09:10:00Z")
    hourly = Recurrence(Interval(1, "hours"), anchor=created)
    asked = [created + timedelta(minutes=30 * number) for number in range(8)]
    coming = {due.utc for due in (next_due(hourly, moment) for moment in asked) if due is not None}
    assert coming == {created + timedelta(hours=hours) for hours in (1, 2, 3, 4)}


def test_nightly_missed_at_3_is_next_due_on_the_next_day() -> None:
    assert local_times(cron("0 3 * * *"), "2027-01-01T08:00:00Z", 1) == ["2027-01-02 03:00+00:00"]


def test_nightly_enabled_again_at_10_05_is_due_at_the_next_midnight_only() -> None:
    assert local_times(cron("0 0 * * *"), "2027-01-21T10:05:00Z", 1) == ["2027-01-22 00:00+00:00"]


def test_interval_of_ten_seconds_stays_on_its_grid_for_an_hour_whenever_it_is_asked() -> None:
    start = at("2027-01-01T00:00:03.250000Z")
    recurrence = Recurrence(Interval(10, "seconds"), start=start)
    moment, found = start - timedelta(microseconds=1), []
    while (due := next_due(recurrence, moment)) is not None and due.utc < start + timedelta(hours=1):
        found.append(due.utc)
        moment = due.utc + timedelta(milliseconds=32)  # each question comes a little late
    assert found == [start + timedelta(seconds=10 * number) for number in range(360)]


def test_interval_of_days_keeps_real_time_over_a_change_of_clocks() -> None:
    daily = Recurrence(Interval(1, "days"), "Europe/Berlin", start=at("2027-03-27T11:00:00Z"))
    assert local_times(daily, "2027-03-27T00:00:00Z", 2) == ["2027-03-27 12:00+01:00", "2027-03-28 13:00+02:00"]


def test_interval_without_start_or_anchor_lies_on_the_epochs_grid() -> None:
    assert between(Recurrence(Interval(25, "minutes")), "1970-01-01T00:00:00Z", "1970-01-01T01:00:00Z") == [
        "1970-01-01 00:25+00:00",
        "1970-01-01 00:50+00:00",
    ]


def test_interval_of_microseconds_is_exact() -> None:
    recurrence = Recurrence(Interval(3, "microseconds"))
    after = at("2027-01-01T00:00:00Z")
    found = [due.utc for due in due_times(recurrence, after, 50)]
    assert {(moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) % 3 for moment in found} == {0}
    assert found[-1] - found[0] == timedelta(microseconds=3 * 49)


def test_max_runs_counts_the_runs_already_made() -> None:
    recurrence = Recurrence(Crontab.from_line("0 * * * *"), max_runs=5)
    after = at("2027-01-01T00:00:00Z")
    assert len(due_times(recurrence, after, 10)) == 5
    assert len(due_times(recurrence, after, 10, done=3)) == 2
    assert due_times(recurrence, after, 10, done=6) == []
    assert next_due_timestamp(recurrence, after.timestamp(), done=4) == after.timestamp() + 3600
    assert next_due_timestamp(recurrence, after.timestamp(), done=5) is None


def test_a_crontab_that_never_matches_has_no_due_times() -> None:
    assert due_times(cron("0 0 31 2 *"), at("2027-01-01T00:00:00Z"), 3) == []


@pytest.mark.parametrize("after", ["0001-01-01T00:00:00Z", "9998-12-30T23:59:00Z", "9999-12-31T23:59:59Z"])
@pytest.mark.parametrize("rule", [Crontab.from_line("0 0 29 2 *"), Interval(36_500, "days")])
@pytest.mark.parametrize("zone", ["America/New_York", "Pacific/Apia"])
def test_the_ends_of_the_calendar_are_no_error(after: str, rule: Crontab | Interval, zone: str) -> None:
    found = due_times(Recurrence(rule, zone), at(after), 2)
    assert len(found) == (2 if after.startswith("0001") else 0)


def test_a_moment_without_a_zone_is_refused() -> None:
    naive = at("2027-01-01T00:00:00")
    with pytest.raises(RecurrenceError) as refused:
        due_times(cron("0 * * * *"), naive, 1)
    assert refused.value.field == "after"
