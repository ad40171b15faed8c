"""Which due times a beat fires, and when it stops."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.orm import Session

from tests.scheduler.beats import FakeTime, Rig, at, drive, hours
from webapp.schedule_store import stored

pytestmark = pytest.mark.each_database


@pytest.mark.parametrize(
    ("line", "zone", "start", "count"),
    [
        ("0 * * * *", "America/New_York", "2026-10-31T00:00:00-04:00", 73),
        ("0 * * * *", "Europe/Berlin", "2026-10-24T00:00:00+02:00", 73),
        ("*/15 * * * *", "Europe/Berlin", "2026-10-24T00:00:00+02:00", 292),
        ("0 12 * * *", "Europe/Berlin", "2026-10-24T00:00:00+02:00", 3),
    ],
)
def test_fall_back_loses_no_due_time(beats: Rig, line: str, zone: str, start: str, count: int) -> None:
    begin = at(start)
    made = beats.crontab("c", line, timezone=zone, saved=begin)
    time = FakeTime(begin)
    # Three days by the wall, one hour longer by the clock; the first midnight is the moment of saving itself.
    drive(beats.leading(time), time, begin + hours(73))
    assert len(beats.dues(made)) == count


def test_interval_stays_on_its_grid(beats: Rig) -> None:
    begin = at("2027-01-01T00:00:03.700")
    made = beats.interval("i", 10, saved=begin)
    time = FakeTime(begin)
    core = beats.leading(time)
    for _ in range(30):
        wait = core.agenda.next_at()
        assert wait is not None
        time.go_to(wait + 0.3)
        core.firing.fire(lambda: True)
    first = at("2027-01-01T00:00:10")
    assert beats.dues(made) == [first + timedelta(seconds=10 * number) for number in range(30)]


def test_interval_begins_at_its_anchor(beats: Rig) -> None:
    begin = at("2027-01-01T00:00:00")
    details = {"anchor": at("2027-01-01T00:00:03")}
    made = beats.interval("i", 10, saved=begin, details=details)
    time = FakeTime(begin)
    drive(beats.leading(time), time, begin + timedelta(seconds=25))
    assert [due.second for due in beats.dues(made)] == [3, 13, 23]


def test_start_between_due_times(beats: Rig) -> None:
    begin = at("2027-01-01T10:00:00")
    made = beats.crontab("c", "*/10 * * * *", saved=begin, start_time=at("2027-01-01T10:25:00"))
    time = FakeTime(begin)
    drive(beats.leading(time), time, at("2027-01-01T10:45:00"))
    assert [due.minute for due in beats.dues(made)] == [30, 40]


def test_end_disables_the_schedule(beats: Rig) -> None:
    begin = at("2027-01-01T10:00:00")
    details = {"ends_at": at("2027-01-01T10:25:00")}
    made = beats.crontab("c", "*/10 * * * *", saved=begin, details=details)
    time = FakeTime(begin)
    drive(beats.leading(time), time, at("2027-01-01T11:00:00"))
    assert [due.minute for due in beats.dues(made)] == [10, 20]
    assert not beats.enabled(made)
    assert stood(beats, made)[0] == "Its end has passed."


def test_maximum_number_of_runs(beats: Rig) -> None:
    begin = at("2027-01-01T10:00:00")
    made = beats.interval("i", 60, saved=begin, details={"max_runs": 3})
    time = FakeTime(begin)
    drive(beats.leading(time), time, begin + hours(1))
    assert len(beats.dues(made)) == 3
    assert not beats.enabled(made)
    assert stood(beats, made) == ("It has reached its maximum of 3 runs.", 3, 0)
    # Enabled again it counts anew, and does not fire before its next due time.
    beats.edit(made, begin + hours(1), enabled=True)
    assert stood(beats, made) == (None, 0, 0)
    drive(beats.leading(time), time, begin + hours(1) + timedelta(seconds=90))
    assert stood(beats, made) == (None, 1, 1)
    # By whichever beat.
    drive(beats.leading(time), time, begin + hours(1.5))
    assert len(beats.dues(made)) == 6
    assert stood(beats, made) == ("It has reached its maximum of 3 runs.", 3, 0)


def stood(beats: Rig, number: int) -> tuple[str | None, int, int]:
    """Why pages say that it is off, how many runs they show, and how many count."""
    with Session(beats.engine) as session:
        found = stored.find(session, number)
        assert found is not None
        return found.finished, found.made, found.runs


def test_one_that_a_person_disables_has_not_finished(beats: Rig) -> None:
    begin = at("2027-01-01T10:00:00")
    made = beats.interval("i", 60, saved=begin, details={"max_runs": 3})
    time = FakeTime(begin)
    core = beats.leading(time)
    drive(core, time, begin + timedelta(seconds=150))
    beats.edit(made, begin + timedelta(seconds=150), enabled=False)
    core.step(woken=True)
    drive(core, time, begin + hours(1))
    assert stood(beats, made) == (None, 2, 2)


def test_one_time_fires_once_and_is_disabled_with_it(beats: Rig) -> None:
    begin = at("2027-01-01T10:00:00")
    made = beats.add("o", "clocked", {"clocked_time": at("2027-01-01T10:05:00")}, saved=begin, one_off=True)
    time = FakeTime(begin)
    drive(beats.leading(time), time, at("2027-01-01T10:05:00"))
    assert beats.dues(made) == [at("2027-01-01T10:05:00")]
    assert not beats.enabled(made)
    time.pass_by(30)
    drive(beats.leading(time), time, at("2027-01-02T00:00:00"))
    assert len(beats.runs(made)) == 1


def test_one_time_that_had_passed_when_it_was_saved_never_fires(beats: Rig) -> None:
    begin = at("2027-01-01T10:00:00")
    made = beats.add("o", "clocked", {"clocked_time": at("2027-01-01T09:59:00")}, saved=begin, one_off=True)
    time = FakeTime(begin)
    core = beats.leading(time)
    drive(core, time, begin + hours(1))
    assert beats.runs(made) == []
    assert not beats.enabled(made)
    assert core.agenda.next_at() is None


def test_run_stores_its_cause(beats: Rig) -> None:
    begin = at("2027-01-01T10:00:00")
    more: dict[str, Any] = {
        "queue": "slow",
        "priority": 3,
        "expire_seconds": 30,
        "headers": '{"a": 1}',
        "details": {"version": 7},
    }
    made = beats.interval("named", 60, saved=begin, **more)
    time = FakeTime(begin)
    drive(beats.leading(time), time, begin + timedelta(seconds=60))
    run = beats.runs(made)[0]
    assert (run.task, run.args, run.kwargs, run.queue, run.priority) == ("add", "[1, 2]", "{}", "slow", 3)
    assert (run.origin, run.schedule_name, run.schedule_version) == ("schedule", "named", 7)
    assert run.options == '{"headers": {"a": 1}}'
    assert run.expires_at == run.created_at + timedelta(seconds=30)


def test_jitter_is_the_same_for_every_beat(beats: Rig) -> None:
    begin = at("2027-01-01T10:00:00")
    made = beats.interval("i", 600, saved=begin, details={"jitter": 60.0})
    moments = []
    for _ in range(2):
        core = beats.leading(FakeTime(begin))
        moments.append(core.agenda.next_at())
    assert moments[0] == moments[1]
    assert moments[0] is not None
    assert 0 < moments[0] - at("2027-01-01T10:10:00").timestamp() < 60
    time = FakeTime(begin)
    drive(beats.leading(time), time, at("2027-01-01T10:11:00"))
    assert beats.dues(made) == [at("2027-01-01T10:10:00")]


def test_a_jitter_ends_at_the_next_due_time_and_fires_when_it_was_shown(beats: Rig) -> None:
    begin = at("2027-01-01T10:00:00")
    made = beats.interval("i", 5, saved=begin, details={"jitter": 60.0, "ends_at": begin + timedelta(seconds=60)})
    with Session(beats.engine) as session:
        schedule = stored.find(session, made)
        assert schedule is not None
        shown = schedule.due_times(begin, 20)
    time = FakeTime(begin)
    core = beats.leading(time)
    fired = []
    while (moment := core.agenda.next_at()) is not None:
        fired.append(moment)
        time.go_to(moment)
        core.firing.fire(lambda: True)
    assert beats.dues(made) == [begin + timedelta(seconds=5 * number) for number in range(1, 13)]
    assert fired == [due.fires_at.timestamp() for due in shown]
    assert all(0 <= (due.fires_at - due.utc).total_seconds() < 5 for due in shown)
    assert max((due.fires_at - due.utc).total_seconds() for due in shown) > 2.5


def test_paused_due_times_are_skipped_with_the_reason(beats: Rig) -> None:
    begin = at("2027-01-01T10:00:00")
    pause = {"paused_at": begin, "paused_until": at("2027-01-01T10:25:00"), "pause_reason": "repair"}
    made = beats.crontab("c", "*/10 * * * *", saved=begin, details=pause)
    time = FakeTime(begin)
    drive(beats.leading(time), time, at("2027-01-01T10:30:00"))
    assert [due.minute for due in beats.dues(made, "skipped")] == [10, 20]
    assert {run.reason for run in beats.runs(made, "skipped")} == {"paused: repair"}
    assert [due.minute for due in beats.dues(made)] == [30]


def test_library_columns_follow(beats: Rig) -> None:
    begin = at("2027-01-01T10:00:00")
    beats.interval("i", 60, saved=begin)
    time = FakeTime(begin)
    core = beats.leading(time)
    drive(core, time, begin + timedelta(seconds=150))
    revision = core.schedules.revision
    core.step(woken=True)
    core.step(woken=True)
    with beats.engine.connect() as connection:
        row = connection.exec_driver_sql("SELECT total_run_count, last_run_at FROM celery_periodictask").one()
    assert row.total_run_count == 2
    assert row.last_run_at is not None
    assert core.schedules.revision == revision
