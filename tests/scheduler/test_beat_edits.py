"""Edits: in force without a restart, acknowledged, and never the cause of a run."""

from __future__ import annotations

from datetime import timedelta
from threading import enumerate as enumerate_threads

import pytest
import redis as redis_client
import sqlalchemy as sa

from tests.scheduler.beats import FakeTime, Rig, at, drive, hours
from tests.servers import wait_for
from webapp.config import Settings
from webapp.extensions import celery
from webapp.liveness import BEAT_STANDBY_INTERVAL
from webapp.messaging.beat_wakeup import CHANNEL
from webapp.scheduler.beat import Scheduler

pytestmark = pytest.mark.each_database

BEGIN = at("2027-03-01T10:00:00")


def test_edit_is_in_force_and_fires_nothing(beats: Rig) -> None:
    made = beats.crontab("c", "0 * * * *", saved=BEGIN)
    time = FakeTime(BEGIN)
    core = beats.leading(time)
    drive(core, time, BEGIN + hours(1.1))
    rule = beats.rule(
        "crontab", minute="*/5", hour="*", day_of_month="*", month_of_year="*", day_of_week="*", timezone="UTC"
    )
    beats.edit(made, BEGIN + hours(1.1), schedule_id=rule, args="[5]", name="renamed")
    core.step(woken=True)
    assert len(beats.dues(made)) == 1
    drive(core, time, BEGIN + hours(1.2))
    assert beats.dues(made)[1:] == [at("2027-03-01T11:10:00")]
    assert beats.runs(made)[-1].args == "[5]"
    assert beats.runs(made)[-1].schedule_name == "renamed"


def test_an_announced_edit_is_in_force_without_waiting_for_the_next_look(
    beats: Rig, settings: Settings, redis: redis_client.Redis
) -> None:
    """The time that beat goes by stands still, so only the announcement can end its wait with a look."""
    made = beats.interval("i", 3600, saved=BEGIN)
    time = FakeTime(BEGIN)
    scheduler = Scheduler(celery, lazy=True)
    core = scheduler._core = beats.beat(time, settings.redis_url)
    core.step(woken=True)
    core.listener.start()
    wait_for(core.listener.connected.is_set)
    # It looks once more as soon as it listens.
    scheduler.tick()
    scheduler.tick()

    def args() -> str:
        scheduler.tick()
        return str(core.agenda.entries[made].args)

    beats.edit(made, BEGIN, args="[5]")
    assert {args() for _ in range(3)} == {"[1, 2]"}
    redis.publish(CHANNEL, "edited")
    wait_for(lambda: args() == "[5]")
    # An edit that is not announced is found by the next look.
    beats.edit(made, BEGIN, args="[6]")
    assert args() == "[5]"
    time.pass_by(BEAT_STANDBY_INTERVAL)
    assert args() == "[6]"
    core.listener.close()
    wait_for(lambda: not any(thread.name == "beat-listener" for thread in enumerate_threads()))


@pytest.mark.parametrize(("column", "value"), [("name", "seven"), ("args", "[7]"), ("queue", "seven")])
def test_any_edit_keeps_the_next_due_time(beats: Rig, column: str, value: str) -> None:
    made = beats.interval("i", 3600, saved=BEGIN, details={"anchor": BEGIN})
    time = FakeTime(BEGIN)
    core = beats.leading(time)
    time.pass_by(1800)
    beats.edit(made, BEGIN + hours(0.5), **{column: value})
    core.step(woken=True)
    assert core.agenda.next_at() == (BEGIN + hours(1)).timestamp()
    assert beats.runs() == []


def test_due_before_the_edit_is_fired_as_it_was_then(beats: Rig) -> None:
    made = beats.interval("i", 60, saved=BEGIN)
    time = FakeTime(BEGIN)
    core = beats.leading(time)
    # The edit is committed after the due time, and read before beat has fired it.
    time.pass_by(60.2)
    beats.edit(made, BEGIN + timedelta(seconds=60.1), args="[9]")
    core._apply_changes()
    assert [(run.due_at.minute, run.args) for run in beats.runs(made)] == [(1, "[1, 2]")]
    drive(core, time, BEGIN + timedelta(seconds=120))
    assert [(run.due_at.minute, run.args) for run in beats.runs(made)] == [(1, "[1, 2]"), (2, "[9]")]


def test_bulk_sql_and_edits_of_rules_are_noticed(beats: Rig) -> None:
    ids = [beats.interval(f"s{number}", 3600, saved=BEGIN) for number in range(5)]
    time = FakeTime(BEGIN)
    core = beats.leading(time)
    beats.execute("UPDATE celery_periodictask SET args = '[0]'")
    core.step(woken=True)
    assert {entry.args for entry in core.agenda.entries.values()} == {"[0]"}
    beats.execute("UPDATE celery_intervalschedule SET every = 7200")
    core.step(woken=True)
    assert {entry.recurrence.rule.every for entry in core.agenda.entries.values()} == {7200}  # type: ignore[union-attr]
    beats.execute("DELETE FROM celery_periodictask WHERE id = :id", id=ids[0])
    core.step(woken=True)
    assert set(core.agenda.entries) == set(ids[1:])


def test_disabled_schedules_are_forgotten(beats: Rig) -> None:
    made = beats.interval("i", 60, saved=BEGIN)
    time = FakeTime(BEGIN)
    core = beats.leading(time)
    time.pass_by(30)
    beats.edit(made, BEGIN + timedelta(seconds=30), enabled=False)
    core.step(woken=True)
    drive(core, time, BEGIN + hours(1))
    assert beats.runs() == []
    assert len(core.agenda) == 0


def test_applied_revision_is_acknowledged(beats: Rig) -> None:
    made = beats.interval("i", 60, saved=BEGIN)
    core = beats.leading(FakeTime(BEGIN))
    beats.edit(made, BEGIN, args="[4]")
    core.step(woken=True)
    with beats.engine.connect() as connection:
        latest = connection.execute(sa.text("SELECT revision FROM schedule_revision")).scalar_one()
        row = connection.execute(sa.text("SELECT * FROM beats")).one()
    assert row.revision == latest == core.schedules.revision
    assert row.host
    assert row.leading
    assert row.schedules == 1
    assert row.applied_at is not None


def test_one_edit_costs_a_constant_number_of_statements(beats: Rig) -> None:
    ids = [beats.interval(f"s{number}", 3600, saved=BEGIN) for number in range(40)]
    core = beats.leading(FakeTime(BEGIN))
    wait_for(lambda: core.publisher.idle)
    statements: list[str] = []
    sa.event.listen(core.engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    counts = []
    for edited in (ids[:1], ids[:1], ids):
        beats.execute("UPDATE celery_periodictask SET args = args || ' ' WHERE id <= :most", most=max(edited))
        statements.clear()
        core._apply_changes()
        core._write_notes()
        counts.append(len(statements))
        assert core.agenda.entries[edited[-1]].revision == core.schedules.revision
    assert counts[1] == counts[2]
    assert counts[2] <= 12


def test_next_due_time_is_noted_for_pages(beats: Rig) -> None:
    made = beats.interval("i", 3600, saved=BEGIN)
    core = beats.leading(FakeTime(BEGIN))
    core.step(woken=True)
    assert beats.progress(made).next_due_at == BEGIN + hours(1)
