"""A span counted at once holds exactly the due times that are found one by one."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.recurrence.test_properties import questions
from tests.scheduler.asking import at, cron
from tests.scheduler.generated import ZONES, changes, crontab_line, moment
from webapp.recurrence import Crontab, Interval, Recurrence, by_minute, clock_changes, next_due_timestamp

DAYS = 3


def one_by_one(recurrence: Recurrence, first: int, minutes: int, most: int = 20_000) -> dict[int, int]:
    found: Counter[int] = Counter()
    due = next_due_timestamp(recurrence, first - 1e-6)
    while due is not None and due < first + 60 * minutes:
        found[int((due - first) // 60)] += 1
        due = next_due_timestamp(recurrence, due, found.total())
        assume(found.total() < most)
    return dict(found)


@given(questions(), st.integers(1, DAYS * 1440))
def test_any_recurrence(question: tuple[Recurrence, datetime], minutes: int) -> None:
    recurrence, after = question
    if isinstance(recurrence.rule, Interval):
        assume(recurrence.rule.period != "microseconds")
    first = int(after.timestamp()) // 60 * 60
    assert dict(by_minute(recurrence, first, minutes).pairs()) == one_by_one(recurrence, first, minutes)


@settings(max_examples=150)
@given(st.integers(0, 10**6), st.sampled_from(ZONES))
def test_crontabs_around_changes_of_clocks(seed: int, timezone: str) -> None:
    chance = random.Random(seed)
    recurrence = Recurrence(Crontab.from_line(crontab_line(chance)), timezone)
    first = (moment(timezone, chance) - chance.randint(0, 2 * 86_400)) // 60 * 60
    assert dict(by_minute(recurrence, first, DAYS * 1440).pairs()) == one_by_one(recurrence, first, DAYS * 1440)


def test_many_times_a_minute() -> None:
    every = Recurrence(Interval(250_000, "microseconds"), anchor=at("2027-01-01T00:00:00.1Z"))
    found = by_minute(every, int(at("2027-01-01T00:00:00Z").timestamp()), 3)
    # The first point of the grid is a tenth of a second after the minute began.
    assert dict(found.pairs()) == {0: 240, 1: 240, 2: 240}
    assert found.total == 720


def test_how_many_runs_are_left() -> None:
    first = int(at("2027-01-01T00:00:00Z").timestamp())
    twice = Recurrence(Crontab.from_line("*/10 * * * *"), max_runs=5)
    assert list(by_minute(twice, first, 1440, done=3).minutes) == [0, 10]


def test_a_week_in_berlin_when_the_clocks_go_back() -> None:
    monday = int(at("2027-10-25T00:00:00+02:00").timestamp())
    week = 7 * 1440 + 60
    assert by_minute(cron("30 2 * * *", "Europe/Berlin"), monday, week).total == 7
    assert by_minute(cron("*/30 * * * *", "Europe/Berlin"), monday, week).total == 7 * 48 + 2


@pytest.mark.parametrize("timezone", ZONES)
def test_clock_changes(timezone: str) -> None:
    first, end = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in (2026, 2029))
    expected = [change.instant for change in changes(timezone) if first <= change.instant < end]
    assert list(clock_changes(timezone, first, end)) == expected
