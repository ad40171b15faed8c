"""Properties of every recurrence, tested on generated ones."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.scheduler.generated import ZONES, crontab_line, moment
from webapp.recurrence import (
    PERIODS,
    SOLAR_EVENTS,
    Crontab,
    Interval,
    OneTime,
    Recurrence,
    Solar,
    due_times,
    jitter_seconds,
    next_due,
    next_due_timestamp,
)

moments = st.datetimes(datetime(2005, 1, 1), datetime(2105, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds
rules = st.one_of(
    st.randoms(use_true_random=False).map(crontab_line).map(Crontab.from_line),
    st.builds(Interval, st.integers(1, 5_000), st.sampled_from(PERIODS)),
    st.builds(Solar, st.sampled_from(SOLAR_EVENTS), st.floats(-80, 80), st.floats(-180, 180)),
    st.builds(OneTime, moments),
)


@st.composite
def questions(draw: st.DrawFn) -> tuple[Recurrence, datetime]:
    """A recurrence and a moment, which for crontabs lies near a change of clocks more often than not."""
    timezone = draw(st.sampled_from(ZONES))
    near = datetime.fromtimestamp(moment(timezone, random.Random(draw(st.integers(0, 10**6)))), UTC)
    after = draw(moments) if draw(st.booleans()) else near
    start = after + timedelta(seconds=draw(st.integers(-90_000, 90_000))) if draw(st.booleans()) else None
    end = after + timedelta(days=draw(st.integers(1, 900))) if draw(st.booleans()) else None
    recurrence = Recurrence(
        draw(rules),
        timezone,
        start=start,
        end=end,
        max_runs=draw(st.none() | st.integers(1, 9)),
        jitter=draw(st.just(0.0) | st.floats(0, 3_600)),
        seed=draw(st.integers(0, 99)),
        anchor=draw(st.none() | moments),
    )
    return recurrence, after


@settings(deadline=None)  # other programs on the machine are no failure of ours
@given(questions())
def test_due_times_come_in_order_strictly_after_and_within_bounds(question: tuple[Recurrence, datetime]) -> None:
    recurrence, after = question
    found = due_times(recurrence, after, 6)
    instants = [due.utc for due in found]
    assert instants == sorted(set(instants))
    assert all(instant > after for instant in instants)
    assert recurrence.start is None or all(instant >= recurrence.start for instant in instants)
    assert recurrence.end is None or all(instant <= recurrence.end for instant in instants)
    assert all(due.local.astimezone(UTC) == due.utc and due.utc.tzinfo is UTC for due in found)
    assert len(found) <= min(6, recurrence.max_runs or 6)


@given(questions(), st.integers(1, 4), st.integers(1, 4))
def test_going_on_from_the_last_gives_the_longer_list(
    question: tuple[Recurrence, datetime], first: int, second: int
) -> None:
    recurrence, after = question
    whole = due_times(recurrence, after, first + second)
    begin = due_times(recurrence, after, first)
    rest = due_times(recurrence, begin[-1].utc, second, done=len(begin)) if begin else []
    assert begin + rest == whole


@given(questions())
def test_one_answer_however_it_is_asked(question: tuple[Recurrence, datetime]) -> None:
    recurrence, after = question
    found = due_times(recurrence, after, 1)
    due = next_due(recurrence, after)
    assert found == ([] if due is None else [due])
    timestamp = next_due_timestamp(recurrence, after.timestamp())
    assert timestamp == (None if due is None else due.utc.timestamp())


@given(questions())
def test_nothing_lies_between_a_moment_and_its_next_due_time(question: tuple[Recurrence, datetime]) -> None:
    recurrence, after = question
    due = next_due(recurrence, after)
    assume(due is not None)
    assert due is not None
    for between in (after + (due.utc - after) / 2, due.utc - timedelta(microseconds=1)):
        again = next_due(recurrence, between)
        assert again is not None
        assert again.utc == due.utc


@given(questions())
def test_jitter_is_bounded_and_deterministic(question: tuple[Recurrence, datetime]) -> None:
    recurrence, after = question
    for due in due_times(recurrence, after, 3):
        late = (due.fires_at - due.utc).total_seconds()
        assert 0 <= late < recurrence.jitter or late == recurrence.jitter == 0
        following = next_due(replace(recurrence, end=None, max_runs=None), due.utc)
        assert following is None or due.fires_at < following.utc
        assert jitter_seconds(recurrence, due.utc.timestamp()) == late
        again = next_due(recurrence, due.utc - timedelta(microseconds=1))
        assert again is not None
        assert again.fires_at == due.fires_at


def test_jitter_spreads_over_its_whole_range_and_differs_between_schedules() -> None:
    recurrence = Recurrence(Interval(1, "minutes"), jitter=60.0, seed=7)
    after = datetime(2027, 1, 1, tzinfo=UTC)
    late = [(due.fires_at - due.utc).total_seconds() for due in due_times(recurrence, after, 1_000)]
    assert min(late) < 1
    assert max(late) > 59
    assert 27 < sum(late) / len(late) < 33
    other = [due.fires_at for due in due_times(replace(recurrence, seed=8), after, 3)]
    assert other != [due.fires_at for due in due_times(recurrence, after, 3)]


def test_jitter_of_a_known_due_time_never_changes_between_versions() -> None:
    recurrence = Recurrence(Crontab.from_line("0 * * * *"), jitter=60.0, seed="nightly")
    due = next_due(recurrence, datetime(2027, 1, 1, tzinfo=UTC))
    assert due is not None
    assert due.fires_at.isoformat() == "2027-01-01T01:00:35.907330+00:00"
