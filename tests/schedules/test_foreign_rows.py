"""Rows that other programs wrote: when beat fires them, and what pages show."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskCliRunner

from tests.scheduler.beats import TASKS, FakeTime, Rig, drive, hours, next_hour
from tests.support import reading
from tests.visitors import Visitor, field_errors
from webapp.database.engine import now
from webapp.extensions import db
from webapp.schedule_store import stored

pytestmark = pytest.mark.each_database


def due_times(app: Flask, number: int, count: int) -> list[datetime]:
    """As the pages see them."""
    with app.app_context(), reading():
        found = stored.find(db.session, number)
        assert found is not None
        return [due.utc for due in found.due_times(now(), count)]


def _stands(visitor: Visitor) -> dict[str, list[str]]:
    """The names that the list finds by each status."""
    found = {status: visitor.read(f"/schedules?status={status}") for status in ("done", "disabled", "enabled")}
    return {status: [one["name"] for one in page["schedules"]] for status, page in found.items()}


DONE = "It has run once, as set"
RULES: list[tuple[str, dict[str, Any]]] = [
    ("interval", {"every": 1, "period": "seconds"}),
    ("crontab", {"minute": "*", "hour": "*", "timezone": "UTC"}),
    ("clocked", {"clocked_time": now() + hours(1)}),
]


@pytest.mark.parametrize(("kind", "rule"), RULES, ids=[kind for kind, _ in RULES])
def test_what_was_to_run_once_and_has_never_runs_again(
    app: Flask, beats: Rig, scheduler: Visitor, kind: str, rule: dict[str, Any]
) -> None:
    time = FakeTime(now())
    core = beats.leading(time)
    # Written by SQL while that beat leads.
    fired = beats.add("fired", kind, rule, saved=now(), one_off=True, total_run_count=1)
    fresh = beats.add("fresh", kind, rule, saved=now(), one_off=True, total_run_count=0)
    assert due_times(app, fired, 1) == []
    assert len(due_times(app, fresh, 2)) == 1
    # Before a beat has switched it off, and afterwards.
    assert DONE in scheduler.get("/schedules?q=fired").text
    assert _stands(scheduler) == {"done": ["fired"], "disabled": [], "enabled": ["fresh"]}
    time.pass_by(1)
    core.step(woken=True)
    drive(core, time, now() + hours(2))
    time.pass_by(1)
    core.step(woken=True)
    # Another beat takes over, and finds both in the tables.
    time.pass_by(60)
    beats.leading(time).step(woken=True)
    assert beats.runs(fired) == []
    assert len(beats.runs(fresh)) == 1
    assert not beats.enabled(fired)
    assert [DONE in scheduler.get(path).text for path in (f"/schedules/{fired}", "/schedules?q=fired")] == [True, True]
    assert _stands(scheduler) == {"done": ["fired", "fresh"], "disabled": [], "enabled": []}
    answer = scheduler.read(f"/schedules/{fired}")
    assert (answer["runs"], answer["enabled"], answer["problem"]) == (1, False, None)


def test_a_noted_due_time_of_what_has_run_once_is_void(beats: Rig) -> None:
    begin = now()
    made = beats.interval("i", 1, saved=begin, one_off=True, total_run_count=3)
    statement = (
        "INSERT INTO schedule_progress (schedule_id, next_due_at, runs, revision) "
        "SELECT schedule_id, changed_at, 0, revision FROM schedule_details"
    )
    beats.execute(statement)
    time = FakeTime(begin)
    drive(beats.leading(time), time, begin + timedelta(seconds=5))
    assert beats.runs(made) == []


def test_enabling_it_again_lets_it_run_once_more(beats: Rig, scheduler: Visitor) -> None:
    later: datetime = now() + hours(3)
    made = beats.add("o", "clocked", {"clocked_time": later}, saved=now(), one_off=True, total_run_count=1)
    time = FakeTime(now())
    core = beats.leading(time)
    core.step(woken=True)
    assert not beats.enabled(made)
    assert scheduler.post(f"/schedules/{made}/enable").status_code == 303
    with beats.engine.connect() as connection:
        assert connection.execute(sa.select(TASKS.c.total_run_count)).scalar_one() == 0
    time.pass_by(1)
    core.step(woken=True)
    drive(core, time, later + hours(1))
    assert beats.dues(made) == [later]


def _phases(times: list[datetime]) -> set[timedelta]:
    return {(time - time.replace(minute=0, second=0, microsecond=0)) % timedelta(minutes=10) for time in times}


@pytest.mark.parametrize(
    ("more", "phase"),
    [
        ({}, timedelta(minutes=7, seconds=3)),
        ({"start_time": datetime(2026, 1, 1, 0, 2, tzinfo=UTC)}, timedelta(minutes=2)),
        # As a machine whose clock is wrong left it: it must not keep the schedule from firing until then.
        ({"last_run_at": datetime(2126, 1, 1, 14, 37, 3, tzinfo=UTC)}, timedelta()),
        ({"last_run_at": None}, timedelta()),
    ],
    ids=["a last run", "a start", "a last run that lies ahead", "never ran"],
)
def test_an_interval_that_another_beat_fired_keeps_its_phase_for_ever(
    app: Flask, beats: Rig, more: dict[str, Any], phase: timedelta
) -> None:
    begin = now()
    time = FakeTime(begin)
    core = beats.leading(time)
    ran = {"last_run_at": datetime(2026, 1, 1, 14, 37, 3, 141_592, tzinfo=UTC), "total_run_count": 7}
    made = beats.interval("i", 10, period="minutes", saved=begin, **(ran | more))
    assert _phases(due_times(app, made, 3)) == {phase}
    core.step(woken=True)
    for _ in range(3):
        time.pass_by(601)  # late, and each time by another second
        core.step(woken=True)
    # What that beat noted as the last run moves nothing for the next one, nor on pages.
    drive(beats.leading(time), time, begin + hours(1))
    dues = [run.due_at for run in beats.runs(made)]
    assert _phases(dues + due_times(app, made, 3)) == {phase}
    assert len(dues) == 6


def test_arguments_that_are_null_are_none(beats: Rig, scheduler: Visitor) -> None:
    begin = now()
    made = beats.interval("i", 60, saved=begin, args="null", kwargs="null", headers="null")
    time = FakeTime(begin)
    drive(beats.leading(time), time, begin + timedelta(seconds=60))
    assert [(run.args, run.kwargs, run.options) for run in beats.runs(made)] == [("[]", "{}", None)]
    answer = scheduler.read(f"/schedules/{made}")
    assert (answer["args"], answer["kwargs"], answer["problem"]) == ([], {}, None)


def test_the_moment_after_which_it_expires_is_its_end_and_can_be_edited(
    app: Flask, beats: Rig, scheduler: Visitor
) -> None:
    begin = next_hour(now())
    end = begin + hours(2.5)
    made = beats.interval("i", 1, period="hours", saved=begin, expires=end)
    time = FakeTime(begin)
    core = beats.leading(time)
    drive(core, time, begin + hours(1))
    assert [run.expires_at for run in beats.runs(made)] == [end]
    assert due_times(app, made, 9)[-1] == begin + hours(2)
    answer = scheduler.read(f"/schedules/{made}")
    assert datetime.fromisoformat(answer["end"]) == end
    later = (begin + hours(3.5)).isoformat()
    assert scheduler.post_json(f"/schedules/{made}", {"end": later, "version": answer["version"]}).status_code == 200
    assert due_times(app, made, 9)[-1] == begin + hours(3)
    beats.saved(made, begin + hours(1))
    core.step(woken=True)
    drive(core, time, begin + hours(9))
    assert beats.dues(made) == [begin + hours(number) for number in (1, 2, 3)]


def test_names_of_days_that_celery_reads_mean_the_same_or_are_refused_with_the_reason(
    app: Flask, beats: Rig, scheduler: Visitor, runner: FlaskCliRunner
) -> None:
    begin = next_hour(now())
    made = {day: beats.crontab(day, f"0 8 * * {day}", saved=begin) for day in ("weds", "tuesdays", "mon#1")}
    beats.leading(FakeTime(begin)).step(woken=True)
    for day, number in {"weds": 2, "tuesdays": 1}.items():
        assert beats.progress(made[day]).next_due_at.weekday() == due_times(app, made[day], 1)[0].weekday() == number
    reason = "write 1-7 as the day of the month and mon as the day of the week"
    assert reason in beats.progress(made["mon#1"]).broken
    assert reason in scheduler.read(f"/schedules/{made['mon#1']}")["problem"]
    # The editor, an import, and the command line.
    typed = {"task": "add", "args": "[1, 2]", "kind": "crontab", "crontab": "0 8 * * mon#1"}
    assert reason in field_errors(scheduler.post("/schedules", {"name": "typed", **typed}))["crontab"]
    file = json.dumps({"schedules": [{"name": "imported", **typed, "args": [1, 2]}]})
    assert reason in scheduler.post_json("/schedules/import", {"file": file}).text
    assert reason in runner.invoke(args=["schedules", "next", "--crontab", "0 8 * * mon#1"]).output
