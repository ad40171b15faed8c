"""Due times that no beat could fire: handled by policy, and each recorded."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from tests.scheduler.beats import FakeTime, Rig, at, drive, hours

pytestmark = pytest.mark.each_database

NIGHT = at("2027-03-01T00:00:00")
MORNING = at("2027-03-01T08:00:00")


@pytest.mark.parametrize(
    ("misfire", "window", "fired", "missed"),
    [("run once", 6 * 3600, 1, 0), ("run once", 3600, 0, 1), ("skip", 6 * 3600, 0, 1), ("run all", 6 * 3600, 1, 0)],
)
def test_missed_night(beats: Rig, misfire: str, window: int, fired: int, missed: int) -> None:
    made = beats.crontab("c", "0 3 * * *", saved=NIGHT, details={"misfire": misfire, "misfire_window": window})
    time = FakeTime(MORNING)
    core = beats.leading(time)
    drive(core, time, MORNING)
    assert (len(beats.dues(made)), len(beats.dues(made, "missed"))) == (fired, missed)
    drive(core, time, MORNING + hours(24))
    assert beats.dues(made)[fired:] == [at("2027-03-02T03:00:00")]


def test_missed_runs_show_how_late_they_were(beats: Rig) -> None:
    made = beats.crontab("c", "0 3 * * *", saved=NIGHT, details={"misfire": "skip"})
    time = FakeTime(MORNING)
    drive(beats.leading(time), time, MORNING)
    run = beats.runs(made, "missed")[0]
    assert run.reason == "beat was not running (5.0 h late); missed runs: skip"
    assert run.ended_at is not None
    assert run.sent_at is None


def test_run_all_fires_what_lies_within_the_window(beats: Rig) -> None:
    details = {"misfire": "run all", "misfire_window": 3 * 3600}
    made = beats.crontab("c", "30 * * * *", saved=NIGHT, details=details)
    time = FakeTime(MORNING)
    drive(beats.leading(time), time, MORNING)
    assert [due.hour for due in beats.dues(made)] == [5, 6, 7]
    assert [due.hour for due in beats.dues(made, "missed")] == [0, 1, 2, 3, 4]
    with beats.engine.connect() as connection:
        assert connection.execute(sa.text("SELECT missed FROM beat_lease")).scalar() == 5


@pytest.mark.parametrize("misfire", ["skip", "run once"])
def test_a_day_of_seconds_makes_few_rows(beats: Rig, misfire: str) -> None:
    made = beats.interval("i", 1, saved=NIGHT, details={"misfire": misfire})
    time = FakeTime(NIGHT + hours(24))
    drive(beats.leading(time), time, NIGHT + hours(24))
    missed = beats.runs(made, "missed")
    assert 1 <= len(missed) <= 10
    assert "others since 2027-03-01 00:00:01 UTC" in missed[-1].reason
    assert len(beats.dues(made)) == 1
    assert beats.progress(made).last_due_at == NIGHT + hours(24)


@pytest.mark.parametrize(("every", "fired"), [(4, [36]), (5, [35]), (24, [])])
def test_skip_fires_no_two_due_times_at_one_instant(beats: Rig, every: int, fired: list[int]) -> None:
    made = beats.interval("i", every, saved=NIGHT, details={"misfire": "skip"})
    back = NIGHT + timedelta(seconds=36)
    time = FakeTime(back)
    core = beats.leading(time)
    drive(core, time, back)
    assert [due.second for due in beats.dues(made)] == fired
    missed = [due.second for due in beats.dues(made, "missed")]
    assert missed + fired == list(range(every, 37, every))
    # From then on each at its time.
    drive(core, time, NIGHT + timedelta(seconds=59))
    assert [due.second for due in beats.dues(made)] == list(range((fired or [every + every])[0], 60, every))


def test_late_within_the_tolerance_fires_all(beats: Rig) -> None:
    made = beats.interval("i", 2, saved=NIGHT)
    time = FakeTime(NIGHT + timedelta(seconds=9))
    drive(beats.leading(time), time, NIGHT + timedelta(seconds=9))
    assert [due.second for due in beats.dues(made)] == [2, 4, 6, 8]


def test_new_schedule_survives_restarts(beats: Rig) -> None:
    begin = at("2027-03-01T10:05:00")
    made = beats.interval("i", 1, period="hours", saved=begin)
    time = FakeTime(begin)
    for half_hours in range(1, 9):
        drive(beats.leading(time), time, begin + hours(half_hours / 2))
    assert len(beats.dues(made)) == 4


def test_re_enabled_after_twenty_days_waits_for_midnight(beats: Rig) -> None:
    begin = at("2027-03-01T12:00:00")
    made = beats.crontab("c", "0 0 * * *", saved=begin)
    time = FakeTime(begin)
    drive(beats.leading(time), time, begin + hours(13))
    beats.edit(made, begin + hours(20), enabled=False)
    drive(beats.leading(time), time, begin + hours(24 * 20))
    again = at("2027-03-21T10:05:00")
    time.go_to(again.timestamp())
    beats.edit(made, again, enabled=True)
    core = beats.leading(time)
    drive(core, time, again + hours(1))
    assert len(beats.dues(made)) == 1
    drive(core, time, again + hours(14))
    assert beats.dues(made)[1:] == [at("2027-03-22T00:00:00")]
    assert beats.dues(made, "missed") == []
