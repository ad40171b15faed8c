"""Pauses of tags and of everything: nothing fires, every due time is recorded, and runs are caught up as chosen."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from tests.scheduler.beats import DETAILS, TASKS, FakeTime, Rig, at, drive, hours
from webapp.schedule_store.models import SchedulePause
from webapp.scheduler.core import Core

BEGIN = at("2027-03-01T08:00:00")
NOON = at("2027-03-01T12:00:00")
PAUSES: sa.Table = SchedulePause.__table__  # type: ignore[assignment]


def pause(beats: Rig, start: datetime, end: datetime | None = None, *tags: str, **values: Any) -> int:
    given = {"tags": json.dumps(tags), "reason": "repair", "author": "Sita", **values}
    with beats.engine.begin() as connection:
        statement = sa.insert(PAUSES).values(starts_at=start, ends_at=end, **given).returning(PAUSES.c.id)
        made: int = connection.execute(statement).scalar_one()
    return made


def change(beats: Rig, number: int, **values: Any) -> None:
    with beats.engine.begin() as connection:
        connection.execute(sa.update(PAUSES).where(PAUSES.c.id == number).values(**values))


def row(beats: Rig, number: int) -> Any:
    with beats.engine.connect() as connection:
        return connection.execute(sa.select(PAUSES).where(PAUSES.c.id == number)).one()


def settle(core: Core, time: FakeTime, until: datetime) -> None:
    """Fire everything until a moment, hear of every change, and make up for every pause that is over."""
    drive(core, time, until)
    core.step(woken=True)
    for _ in range(50):
        if core.step(woken=False) > 0:
            return
    raise AssertionError("beat does not come to rest")


def hour(dues: list[datetime]) -> list[int]:
    return [due.hour for due in dues]


def test_only_schedules_with_the_tag_are_held_and_only_then(beats: Rig) -> None:
    held = beats.crontab("held", "0 * * * *", saved=BEGIN, details={"tags": '["nightly", "slow"]'})
    free = beats.crontab("free", "0 * * * *", saved=BEGIN, details={"tags": '["other"]'})
    number = pause(beats, BEGIN + hours(1.5), BEGIN + hours(3.5), "slow", "more")
    time = FakeTime(BEGIN)
    settle(beats.leading(time), time, NOON)
    assert (hour(beats.dues(held)), hour(beats.dues(held, "skipped"))) == ([9, 12], [10, 11])
    assert hour(beats.dues(free)) == [9, 10, 11, 12]
    skipped = beats.runs(held, "skipped")[0]
    assert (skipped.reason, skipped.pause_id) == ("paused: repair, by Sita", number)
    assert row(beats, number).settled_at is not None


@pytest.mark.each_database
def test_a_pause_that_is_added_holds_at_once_and_one_that_is_deleted_no_more(beats: Rig) -> None:
    made = beats.crontab("c", "0 * * * *", saved=BEGIN)
    time = FakeTime(BEGIN)
    core = beats.leading(time)
    drive(core, time, BEGIN + hours(1.5))
    number = pause(beats, BEGIN + hours(1.5), None)
    core.step(woken=True)
    with beats.engine.connect() as connection:
        revision = connection.execute(sa.text("SELECT revision FROM beats ORDER BY started_at DESC")).scalar()
    assert revision == row(beats, number).revision
    drive(core, time, BEGIN + hours(2.5))
    beats.execute("DELETE FROM pauses")
    core.step(woken=True)
    settle(core, time, BEGIN + hours(3))
    assert (hour(beats.dues(made)), hour(beats.dues(made, "skipped"))) == ([9, 11], [10])


@pytest.mark.parametrize(
    ("on_resume", "misfire", "fired"),
    [
        ("skip", "run all", []),
        ("run once", "skip", [11]),
        ("run all", "skip", [10, 11]),
        ("policy", "skip", []),
        ("policy", "run once", [11]),
        ("policy", "run all", [10, 11]),
    ],
)
def test_what_came_due_is_made_up_for_as_was_chosen(beats: Rig, on_resume: str, misfire: str, fired: list[int]) -> None:
    details = {"misfire": misfire, "misfire_window": 2 * 3600}
    made = beats.crontab("c", "0 * * * *", saved=BEGIN, details=details)
    number = pause(beats, BEGIN, BEGIN + hours(3.5), on_resume=on_resume)
    time = FakeTime(BEGIN)
    settle(beats.leading(time), time, BEGIN + hours(3.75))
    assert hour(beats.dues(made)) == fired
    assert hour(beats.dues(made, "skipped")) == [due for due in (9, 10, 11) if due not in fired]
    assert {run.reason for run in beats.runs(made, "queued")} <= {"caught up after a pause: repair"}
    assert (row(beats, number).caught_up, beats.progress(made).runs) == (len(fired), len(fired))
    drive(beats.leading(time), time, NOON)
    assert hour(beats.dues(made))[-1] == 12


@pytest.mark.each_database
def test_runs_skipped_before_beat_noticed_the_end_are_caught_up(beats: Rig) -> None:
    made = beats.crontab("c", "0 * * * *", saved=BEGIN)
    number = pause(beats, BEGIN)
    time = FakeTime(BEGIN)
    core = beats.leading(time)
    drive(core, time, BEGIN + hours(2.5))
    change(beats, number, ended_at=BEGIN + hours(1.5), ended_by="Sita")
    settle(core, time, BEGIN + hours(2.75))
    assert (hour(beats.dues(made)), hour(beats.dues(made, "skipped"))) == ([10], [9])


def test_a_due_time_without_beat_belongs_to_the_pause_that_held_it(beats: Rig) -> None:
    details = {"misfire": "run all", "misfire_window": 4 * 3600}
    made = beats.crontab("c", "0 * * * *", saved=BEGIN, details=details)
    number = pause(beats, BEGIN + hours(1.5), BEGIN + hours(2.5), on_resume="run once")
    time = FakeTime(NOON + timedelta(minutes=1))
    settle(beats.leading(time), time, NOON + timedelta(minutes=1))
    assert hour(beats.dues(made)) == [9, 10, 11, 12]
    assert {run.due_at.hour: run.pause_id for run in beats.runs(made)} == {9: None, 10: number, 11: None, 12: None}


def test_nothing_is_caught_up_into_a_pause(beats: Rig) -> None:
    made = beats.crontab("c", "0 9 * * *", saved=BEGIN, details={"misfire_window": 4 * 3600})
    pause(beats, BEGIN + hours(2), NOON)
    time = FakeTime(BEGIN + hours(3))
    settle(beats.leading(time), time, BEGIN + hours(3))
    assert [run.state for run in beats.runs(made)] == ["skipped"]


def test_another_beat_goes_on_in_the_middle_of_a_pause(beats: Rig) -> None:
    made = beats.crontab("c", "0 * * * *", saved=BEGIN)
    pause(beats, BEGIN, BEGIN + hours(3.5), on_resume="run once")
    time = FakeTime(BEGIN)
    drive(beats.leading(time), time, BEGIN + hours(1.5))
    drive(beats.leading(time), time, BEGIN + hours(2.5))
    last = beats.leading(time)
    settle(last, time, BEGIN + hours(3.75))
    assert hour(beats.dues(made, "skipped")) == [9, 10]
    settle(beats.leading(time), time, BEGIN + hours(3.8))
    assert hour(beats.dues(made)) == [11]


@pytest.mark.each_database
def test_what_another_pause_still_holds_is_decided_about_by_that_one(beats: Rig) -> None:
    both = beats.crontab("both", "0 * * * *", saved=BEGIN, details={"tags": '["slow"]'})
    one = beats.crontab("one", "0 * * * *", saved=BEGIN)
    own = beats.crontab("own", "0 * * * *", saved=BEGIN, details={"tags": "[]"})
    wide = pause(beats, BEGIN, BEGIN + hours(2.5), on_resume="run once")
    time = FakeTime(BEGIN)
    core = beats.leading(time)
    drive(core, time, BEGIN + hours(2.25))
    narrow = pause(beats, BEGIN + hours(2.25), BEGIN + hours(3.5), "slow", on_resume="run all")
    beats.execute("UPDATE schedule_details SET paused_at = :at WHERE schedule_id = :own", at=BEGIN, own=own)
    core.step(woken=True)
    settle(core, time, BEGIN + hours(2.75))
    assert (beats.dues(both), hour(beats.dues(one)), beats.dues(own)) == ([], [10], [])
    assert {run.pause_id for run in beats.runs(both)} == {narrow}
    assert row(beats, wide).caught_up == 1
    beats.execute("UPDATE schedule_details SET misfire_window = 10800")
    core.step(woken=True)
    settle(core, time, BEGIN + hours(3.75))
    assert hour(beats.dues(both)) == [9, 10, 11]


def test_one_time_schedules_are_made_up_for_and_switched_off_ones_are_not(beats: Rig) -> None:
    once = beats.add("once", "clocked", {"clocked_time": BEGIN + hours(1)}, saved=BEGIN, one_off=True)
    off = beats.crontab("off", "0 * * * *", saved=BEGIN)
    number = pause(beats, BEGIN, BEGIN + hours(1.5), on_resume="run once")
    time = FakeTime(BEGIN)
    core = beats.leading(time)
    drive(core, time, BEGIN + hours(1.25))
    assert not beats.enabled(once)
    beats.execute("UPDATE celery_periodictask SET enabled = false WHERE id = :off", off=off)
    core.step(woken=True)
    settle(core, time, BEGIN + hours(2))
    assert (hour(beats.dues(once)), beats.dues(off)) == ([9], [])
    assert row(beats, number).caught_up == 1


@pytest.mark.each_database
def test_policies_for_overlap_and_the_maximum_hold_for_what_is_made_up_for(beats: Rig) -> None:
    details = {"misfire_window": 4 * 3600, "overlap": "skip"}
    alone = beats.crontab("alone", "0 * * * *", saved=BEGIN, details=details)
    twice = beats.crontab("twice", "0 * * * *", saved=BEGIN, details={"misfire_window": 4 * 3600, "max_runs": 2})
    pause(beats, BEGIN, BEGIN + hours(3.5), on_resume="run all")
    time = FakeTime(BEGIN)
    core = beats.leading(time)
    settle(core, time, BEGIN + hours(3.75))
    core.step(woken=True)
    assert hour(beats.dues(alone)) == [9]
    assert "overlap: skip" in beats.runs(alone, "skipped")[0].reason
    assert hour(beats.dues(twice)) == [9, 10]
    assert not beats.enabled(twice)


@pytest.mark.each_database
def test_many_due_at_once_are_skipped_and_made_up_for_in_batches(beats: Rig) -> None:
    same: dict[str, Any] = {"task": "add", "args": "[1, 2]", "kwargs": "{}", "discriminator": "intervalschedule"}
    same["schedule_id"] = beats.rule("interval", every=1, period="hours")
    with beats.engine.begin() as connection:
        connection.execute(sa.insert(TASKS), [{**same, "name": f"n{number}"} for number in range(900)])
        connection.execute(sa.update(DETAILS).values(changed_at=BEGIN))
    number = pause(beats, BEGIN, BEGIN + hours(1.5), on_resume="run once")
    time = FakeTime(BEGIN)
    core = beats.leading(time)
    statements: list[str] = []
    sa.event.listen(core.engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    drive(core, time, BEGIN + hours(1))
    assert len(beats.runs(state="skipped")) == 900
    assert sum("INSERT INTO runs" in statement for statement in statements) == 1
    settle(core, time, BEGIN + hours(1.75))
    assert len(beats.runs(state="queued")) == 900
    assert row(beats, number).caught_up == 900
