"""Recurrences in plain words."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.scheduler.asking import at
from tests.scheduler.generated import crontab_line
from webapp.recurrence import Crontab, Interval, OneTime, Recurrence, RecurrenceError, Solar, describe


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("* * * * *", "every minute"),
        ("*/5 9-17 * * mon-fri", "every 5 minutes, from 09:00 to 17:59, Monday to Friday"),
        ("*/7 * * * *", "every hour, at 0, 7, 14 and so on up to 56 minutes past"),
        ("0,30 * * * *", "every 30 minutes"),
        ("0 * * * *", "every hour, on the hour"),
        ("15 * * * *", "every hour, at 15 minutes past"),
        ("10,40 * * * *", "every hour, at 10 and 40 minutes past"),
        ("0 */2 * * *", "every 2 hours, on the hour"),
        ("5 */2 * * *", "every 2 hours from 00:05 to 22:05"),
        ("0 9-17 * * *", "every hour from 09:00 to 17:00"),
        ("0 8 * * *", "every day at 08:00"),
        ("0 8,12,18 * * *", "every day at 08:00, 12:00 and 18:00"),
        ("30 2 * * sat,sun", "Saturday and Sunday at 02:30"),
        ("0 0 1,15 * *", "on days 1 and 15 of the month at 00:00"),
        ("0 0 13 * fri", "on day 13 of the month, if it is Friday, at 00:00"),
        ("0 0 */2 * *", "on days 1, 3, 5 and so on up to 31 of the month at 00:00"),
        ("0 0 29 2 *", "on day 29 of February at 00:00"),
        ("5 4 * feb,mar *", "every day in February and March at 04:05"),
        ("0 3 * jan-mar,jul mon,wed,fri", "Monday, Wednesday and Friday in January to March and July at 03:00"),
        ("* 2 * * *", "every minute, from 02:00 to 02:59"),
        ("*/10 1-3,7 * * *", "every 10 minutes, from 01:00 to 03:59 and from 07:00 to 07:59"),
    ],
)
def test_crontabs(line: str, words: str) -> None:
    assert describe(Recurrence(Crontab.from_line(line))) == f"{words}, UTC"


def test_the_zone_is_named_when_it_is_not_utc() -> None:
    assert describe(Recurrence(Crontab.from_line("0 8 * * *"), "Asia/Kathmandu")) == (
        "every day at 08:00, Asia/Kathmandu time"
    )


@pytest.mark.parametrize(
    ("recurrence", "words"),
    [
        (Recurrence(Interval(1, "hours")), "every hour"),
        (Recurrence(Interval(10, "seconds")), "every 10 seconds"),
        (Recurrence(Interval(2500, "microseconds")), "every 2,500 microseconds"),
        (
            Recurrence(Solar("sunrise", 69.65, 18.96), "Europe/Oslo"),
            "every day at sunrise at 69.65° north, 18.96° east",
        ),
        (Recurrence(Solar("dusk_civil", -33.9, -70.5)), "every day at civil dusk at 33.9° south, 70.5° west"),
        (
            Recurrence(OneTime(at("2027-10-30T22:00:00Z")), "Europe/Berlin"),
            "once, on 31 October 2027 at 00:00, Europe/Berlin time",
        ),
    ],
)
def test_other_kinds(recurrence: Recurrence, words: str) -> None:
    assert describe(recurrence) == words


def test_start_and_end_are_described_in_the_schedules_time_zone() -> None:
    recurrence = Recurrence(
        Interval(5, "minutes"),
        "Asia/Kathmandu",
        start=at("2027-01-01T00:00:00Z"),
        end=at("2027-02-01T00:00:30Z"),
        max_runs=3,
        jitter=30,
    )
    assert describe(recurrence) == (
        "every 5 minutes; from 1 January 2027 at 05:45 until 1 February 2027 at 05:45:30, Asia/Kathmandu time; "
        "at most 3 times; jitter up to 30s"
    )


def test_described_jitter_ends_at_the_next_due_time() -> None:
    words = [describe(Recurrence(Interval(5, "seconds"), jitter=jitter)) for jitter in (4, 5, 60)]
    beyond = "every 5 seconds; jitter up to the next run"
    assert words == ["every 5 seconds; jitter up to 4s", beyond, beyond]


@settings(deadline=None)  # other programs on the machine are no failure of ours
@given(st.randoms(use_true_random=False).map(crontab_line))
def test_every_crontab_has_words_without_gaps(line: str) -> None:
    words = describe(Recurrence(Crontab.from_line(line)))
    assert words
    assert words == words.strip()
    assert "  " not in words
    assert ",," not in words
    assert ", ," not in words


def test_a_field_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(RecurrenceError) as refused:
        describe(Recurrence(Crontab(minute="61")))
    assert refused.value.field == "minute"
