"""One broken row stops no other schedule; neither does a database or a clock that misbehaves."""

from __future__ import annotations

import logging
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
import sqlalchemy as sa

from tests.scheduler.beats import FakeTime, Rig, at, drive, hours

pytestmark = pytest.mark.each_database

BEGIN = at("2027-03-01T10:00:00")


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        ({"args": "not json"}, "args are not JSON"),
        ({"args": "[" * 100_000}, "cannot be read"),
        ({"args": '{"a": 1}'}, "args must be a JSON list"),
        ({"kwargs": "[1]"}, "kwargs must be a JSON object"),
        ({"headers": "[]"}, "headers must be a JSON object"),
        ({"priority": 99}, "priority must be from 0 to 9, not 99"),
        ({"task": "os.system"}, "the task os.system is not registered"),
        ({"task": "celery.map"}, "one of Celery's own tasks"),
    ],
)
def test_a_broken_row_is_marked_alone_and_mends(beats: Rig, task: dict[str, Any], reason: str) -> None:
    good = beats.interval("good", 60, saved=BEGIN)
    bad = beats.interval("bad", 60, saved=BEGIN, **task)
    time = FakeTime(BEGIN)
    core = beats.leading(time)
    drive(core, time, BEGIN + timedelta(seconds=60))
    assert reason in beats.progress(bad).broken
    assert beats.runs(bad) == []
    assert len(beats.runs(good)) == 1
    beats.edit(bad, BEGIN + timedelta(seconds=70), task="add", args="[1, 2]", kwargs="{}", headers="{}", priority=None)
    core.step(woken=True)
    drive(core, time, BEGIN + timedelta(seconds=120))
    assert beats.progress(bad).broken is None
    assert len(beats.runs(bad)) == 1


def test_celerys_own_cleaning_of_results_fires(beats: Rig) -> None:
    """As Celery's beat, and each library that keeps its schedules in tables, installs it."""
    made = beats.crontab("celery.backend_cleanup", "0 4 * * *", saved=BEGIN, task="celery.backend_cleanup", args="[]")
    time = FakeTime(BEGIN)
    drive(beats.leading(time), time, BEGIN + timedelta(days=1))
    assert [(run.task, run.state) for run in beats.runs(made)] == [("celery.backend_cleanup", "queued")]
    assert beats.progress(made).broken is None


def test_since_when_it_is_broken_is_kept_until_it_can_fire(beats: Rig) -> None:
    made = beats.interval("i", 60, saved=BEGIN)
    core = beats.leading(FakeTime(BEGIN))

    def saved(seconds: int, args: str) -> Any:
        beats.edit(made, BEGIN + timedelta(seconds=seconds), args=args)
        core.step(woken=True)
        return beats.progress(made)

    first = saved(1, "not json")
    other = saved(2, "{}")
    assert (other.broken != first.broken, other.broken_since) == (True, first.broken_since)
    assert saved(3, "[1, 2]").broken is None
    assert saved(4, "not json").broken_since > first.broken_since


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("UPDATE celery_periodictask SET schedule_id = 999", "its crontabschedule row is missing"),
        ("UPDATE celery_crontabschedule SET hour = '77'", "hour"),
        ("UPDATE celery_crontabschedule SET day_of_month = '31', month_of_year = '2'", "never fires"),
        ("UPDATE celery_crontabschedule SET timezone = 'Mars/Olympus'", "timezone"),
        ("UPDATE schedule_details SET misfire = 'guess'", "cannot be read"),
    ],
)
def test_a_broken_rule_is_named(beats: Rig, change: str, reason: str) -> None:
    made = beats.crontab("c", "0 1 * * *", saved=BEGIN)
    core = beats.leading(FakeTime(BEGIN))
    beats.execute(change)
    core.step(woken=True)
    assert reason in beats.progress(made).broken
    assert core.agenda.next_at() is None


def test_a_row_that_the_database_refuses_is_found_in_its_batch(beats: Rig) -> None:
    ids = [beats.interval(f"s{number}", 60, saved=BEGIN) for number in range(5)]
    beats.execute("CREATE UNIQUE INDEX refuses ON runs (schedule_version) WHERE schedule_version = 77")
    beats.execute(
        "INSERT INTO runs (id, task, args, kwargs, state, origin, created_at, schedule_version) "
        "VALUES ('other', 'add', '[]', '{}', 'succeeded', 'launch', CURRENT_TIMESTAMP, 77)"
    )
    beats.execute("UPDATE schedule_details SET version = 77 WHERE schedule_id = :id", id=ids[2])
    beats.saved(ids[2], BEGIN)
    time = FakeTime(BEGIN)
    core = beats.leading(time)
    drive(core, time, BEGIN + timedelta(seconds=60))
    core.step(woken=True)
    assert [len(beats.runs(made)) for made in ids] == [1, 1, 0, 1, 1]
    assert "cannot be created" in beats.progress(ids[2]).broken


def test_a_database_outage_is_survived_with_one_line(beats: Rig, caplog: pytest.LogCaptureFixture) -> None:
    made = beats.interval("i", 2, saved=BEGIN)
    time = FakeTime(BEGIN)
    core = beats.leading(time)
    down = True

    def refuse(*_: Any) -> None:
        if down:
            raise sa.exc.OperationalError("connect", {}, Exception("the server is away"))

    sa.event.listen(core.engine, "engine_connect", refuse)
    with caplog.at_level(logging.WARNING):
        time.pass_by(2)
        waits = [core.step() for _ in range(6)]
        assert waits == sorted(waits)
        assert 0 < waits[0] < waits[-1] <= 2
        assert beats.runs() == []
        down = False
        core.step()
        core.step()
    assert len(beats.dues(made)) == 1
    lines = [record.message for record in caplog.records]
    assert len([line for line in lines if "The database is away" in line]) == 1
    assert len([line for line in lines if "The database is back" in line]) == 1


def test_clock_forward_then_back(beats: Rig) -> None:
    made = beats.interval("i", 10, saved=BEGIN)
    time = FakeTime(BEGIN)
    core = beats.leading(time)
    drive(core, time, BEGIN + timedelta(seconds=65))
    time.set_clock(3600)
    core.step()
    # One catch-up, by policy, for the hour that seems to have passed.
    assert len(beats.dues(made)) == 6 + 1
    time.pass_by(20)
    core.step()
    fired_ahead = len(beats.dues(made))
    time.set_clock(-3600)
    core.step()
    drive(core, time, BEGIN + timedelta(seconds=300))
    early = [due for due in beats.dues(made) if due <= BEGIN + timedelta(seconds=300)]
    assert early == [BEGIN + timedelta(seconds=10 * number) for number in range(1, 31) if number not in {7, 8}]
    assert fired_ahead >= 8
    # What was noted as missed while the clock was ahead, or fired then, is neither lost nor fired twice when it comes.
    drive(core, time, BEGIN + hours(1.1))
    dues = beats.dues(made)
    assert len(dues) == len(set(dues))
    gaps = [later - earlier for earlier, later in pairwise(dues)]
    assert max(gaps) <= timedelta(seconds=30)


def test_beat_restarted_after_the_clock_was_set_back(beats: Rig) -> None:
    made = beats.interval("i", 10, saved=BEGIN)
    time = FakeTime(BEGIN + hours(1))
    drive(beats.leading(time), time, BEGIN + hours(1.01))
    back = FakeTime(BEGIN + timedelta(minutes=5))
    core = beats.leading(back)
    assert core.agenda.next_at() == (BEGIN + timedelta(minutes=5, seconds=10)).timestamp()
    drive(core, back, BEGIN + timedelta(minutes=6))
    assert len([due for due in beats.dues(made) if due <= BEGIN + timedelta(minutes=6)]) == 6
