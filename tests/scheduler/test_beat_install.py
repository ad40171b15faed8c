"""Schedules that the code defines: installed once, following the code, never over an admin's edit."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from celery.schedules import crontab, solar
from kombu import Exchange
from sqlalchemy.orm import Session

from tests.scheduler.beats import DETAILS, TASKS, FakeTime, Rig, at
from webapp.extensions import celery
from webapp.identity.models import AuditEntry
from webapp.run_store.models import Run
from webapp.schedule_store.models import ScheduleVersion
from webapp.schedule_store.stored import find_named
from webapp.scheduler.core import Core
from webapp.scheduler.install import definition, install

pytestmark = pytest.mark.each_database

BEGIN = at("2027-03-01T10:00:00")


@pytest.fixture
def core(beats: Rig) -> Core:
    """A leading beat, without any schedule of the code's yet."""
    return beats.leading(FakeTime(BEGIN))


def _define(core: Core, **entries: dict[str, Any]) -> None:
    celery.conf.beat_schedule = entries
    install(celery, core.engine, core.lease)


def _rows(beats: Rig) -> dict[str, Any]:
    statement = sa.select(TASKS, DETAILS.c.owner, DETAILS.c.code_definition, DETAILS.c.revision).join(
        DETAILS, DETAILS.c.schedule_id == TASKS.c.id
    )
    with beats.engine.connect() as connection:
        return {row.name: row for row in connection.execute(statement)}


def test_secret_arguments_are_sealed_and_known_again(beats: Rig, core: Core) -> None:
    entry = {"task": "add", "schedule": 90.0, "kwargs": {"password": "canary-1", "num1": 1}}
    _define(core, often=entry)
    first = _rows(beats)["often"]
    assert "canary" not in str(first)
    assert "sealed:v2:" in first.kwargs
    _define(core, often=dict(entry))
    assert _rows(beats)["often"] == first
    _define(core, often=entry | {"kwargs": {"password": "canary-2", "num1": 1}})
    assert _rows(beats)["often"].kwargs != first.kwargs
    # As a former version wrote them.
    plain = json.dumps(definition(entry, celery.conf.timezone), sort_keys=True)
    with beats.engine.begin() as connection:
        connection.execute(sa.update(TASKS).values(kwargs=json.dumps(entry["kwargs"])))
        connection.execute(sa.update(DETAILS).values(code_definition=plain))
    _define(core, often=entry)
    assert "canary" not in str(_rows(beats)["often"])
    # An edit can still be distinguished from the code's definition.
    beats.edit(first.id, BEGIN, kwargs=json.dumps({"num1": 2}))
    _define(core, often=entry | {"kwargs": {"password": "canary-3"}})
    assert json.loads(_rows(beats)["often"].kwargs) == {"num1": 2}


DAILY = {"task": "add", "schedule": crontab(minute="0", hour="8"), "args": [1, 2]}


def test_a_skip_goes_when_the_code_moves_its_schedule(beats: Rig, core: Core) -> None:
    _define(core, daily=DAILY)
    made, due = _rows(beats)["daily"].id, datetime(2099, 3, 1, 8, tzinfo=ZoneInfo(celery.conf.timezone))
    skip = {"id": "skip", "task": "add", "state": "skipped", "schedule_id": made, "due_at": due}
    with beats.engine.begin() as connection:
        connection.execute(sa.insert(Run).values(**skip, created_at=BEGIN))
    _define(core, daily=DAILY | {"args": [3, 4]})
    assert len(beats.runs(made)) == 1
    _define(core, daily=DAILY | {"schedule": crontab(minute="0", hour="9")})
    assert beats.runs(made) == []


def test_each_kind_is_installed_and_can_fire(beats: Rig, core: Core) -> None:
    _define(
        core,
        daily=DAILY,
        often={"task": "add", "schedule": 90.0, "kwargs": {"num1": 1}, "options": {"queue": "slow", "expires": 60}},
        sun={"task": "add", "schedule": solar("sunrise", 27.7, 85.3)},
    )
    rows = _rows(beats)
    assert set(rows) == {"daily", "often", "sun"}
    assert {row.owner for row in rows.values()} == {"code"}
    assert (rows["often"].queue, rows["often"].expire_seconds) == ("slow", 60)
    assert json.loads(rows["daily"].code_definition)["timezone"] == celery.conf.timezone
    core.step(woken=True)
    assert len(core.agenda) == 3


def test_an_exchange_may_be_given_as_kombus_own(beats: Rig, core: Core) -> None:
    _define(core, daily={**DAILY, "options": {"exchange": Exchange("events"), "routing_key": "sums"}})
    row = _rows(beats)["daily"]
    assert (row.exchange, row.routing_key) == ("events", "sums")


def test_installing_again_changes_nothing(beats: Rig, core: Core) -> None:
    _define(core, daily=DAILY)
    revision = _rows(beats)["daily"].revision
    _define(core, daily=DAILY)
    assert _rows(beats)["daily"].revision == revision
    assert "celery.backend_cleanup" not in _rows(beats)


def test_a_change_of_the_code_is_followed(beats: Rig, core: Core) -> None:
    _define(core, daily=DAILY)
    _define(core, daily={**DAILY, "schedule": timedelta(minutes=5), "args": [3]})
    row = _rows(beats)["daily"]
    assert (row.discriminator, row.args) == ("intervalschedule", "[3]")
    assert json.loads(row.code_definition)["every"] == 300


def test_an_edit_of_an_admin_stays(beats: Rig, core: Core) -> None:
    _define(core, daily=DAILY)
    beats.execute("UPDATE celery_periodictask SET args = '[7, 7]'")
    _define(core, daily=DAILY)
    assert _rows(beats)["daily"].args == "[7, 7]"
    _define(core, daily={**DAILY, "args": [3]})
    row = _rows(beats)["daily"]
    assert row.args == "[7, 7]"
    assert json.loads(row.code_definition)["args"] == [3]


def test_what_the_code_drops_is_disabled_and_may_come_back(beats: Rig, core: Core) -> None:
    _define(core, daily=DAILY)
    _define(core)
    row = _rows(beats)["daily"]
    assert (row.enabled, row.owner, row.code_definition) == (False, "code", None)
    _define(core, daily=DAILY)
    assert _rows(beats)["daily"].enabled


def test_what_the_code_drops_but_an_admin_edited_becomes_the_admins(beats: Rig, core: Core) -> None:
    _define(core, daily=DAILY)
    beats.execute("UPDATE celery_periodictask SET args = '[7, 7]'")
    _define(core)
    row = _rows(beats)["daily"]
    assert (row.enabled, row.owner, row.args) == (True, "admin", "[7, 7]")


def test_a_name_that_an_admin_uses_is_left_alone(beats: Rig, core: Core) -> None:
    beats.interval("daily", 60, saved=BEGIN)
    _define(core, daily=DAILY)
    row = _rows(beats)["daily"]
    assert (row.owner, row.discriminator) == ("admin", "intervalschedule")


def test_a_wrong_entry_stops_no_other(beats: Rig, core: Core, caplog: pytest.LogCaptureFixture) -> None:
    wrong = {"schedule": 5}, {**DAILY, "args": [{1, 2}]}, {**DAILY, "options": {"routing_key": object()}}
    _define(core, **{f"wrong-{place}": entry for place, entry in enumerate(wrong)}, daily=DAILY)
    assert set(_rows(beats)) == {"daily"}
    assert all(f"wrong-{place} cannot be used" in caplog.text for place in range(3))


def _written(beats: Rig) -> list[tuple[Any, ...]]:
    """Number and author of each version, beside what the audit says of the same."""
    with beats.engine.connect() as connection:
        entries = connection.execute(sa.select(AuditEntry.action, AuditEntry.actor).order_by(AuditEntry.id)).all()
        versions = sa.select(ScheduleVersion.version, ScheduleVersion.author).order_by(ScheduleVersion.id)
        return [(*version, *entry) for version, entry in zip(connection.execute(versions), entries, strict=True)]


def test_what_is_written_is_a_version_and_in_the_audit(beats: Rig, core: Core) -> None:
    changed = {**DAILY, "args": [3, 4]}
    for entries in ({"daily": DAILY}, {"daily": DAILY}, {"daily": changed}, {}, {}, {"daily": changed}):
        _define(core, **entries)
    actions = ("create", "update", "disable", "update")
    assert _written(beats) == [
        (number, "the code", f"schedule.{action}", "the code") for number, action in enumerate(actions, 1)
    ]
    with beats.engine.connect() as connection, Session(connection) as session:
        stored = find_named(session, "daily")
        assert stored is not None
        assert stored.row.version == 4
        snapshots = [json.loads(text) for text in session.scalars(sa.select(ScheduleVersion.snapshot))]
        audited = session.scalars(sa.select(AuditEntry).order_by(AuditEntry.id)).all()
    assert [(one["args"], one["enabled"]) for one in snapshots] == [
        ([1, 2], True), ([3, 4], True), ([3, 4], False), ([3, 4], True)
    ]  # fmt: skip
    assert snapshots[-1] == stored.snapshot
    assert (json.loads(audited[1].before or ""), json.loads(audited[1].after or "")) == (
        {"args": [1, 2]},
        {"args": [3, 4]},
    )


def test_what_former_releases_wrote_is_kept_as_its_first_version(beats: Rig, core: Core) -> None:
    _define(core, daily=DAILY)
    beats.execute("DELETE FROM schedule_versions")
    beats.execute("DELETE FROM audit")
    _define(core, daily={**DAILY, "args": [3]})
    with beats.engine.connect() as connection:
        query = sa.select(ScheduleVersion.version, ScheduleVersion.snapshot).order_by(ScheduleVersion.version)
        found = [(version, json.loads(text)["args"]) for version, text in connection.execute(query)]
    assert found == [(1, [1, 2]), (2, [3])]


def test_an_edit_that_outlives_the_code_is_noted_when_it_becomes_an_admins(beats: Rig, core: Core) -> None:
    _define(core, daily=DAILY)
    beats.execute("UPDATE celery_periodictask SET args = '[7, 7]'")
    _define(core)
    with beats.engine.connect() as connection:
        entry = connection.execute(sa.select(AuditEntry).order_by(AuditEntry.id.desc())).first()
    assert entry is not None
    assert (entry.actor, json.loads(entry.after)) == ("the code", {"owner": "admin"})


def test_many_cost_no_more_statements_than_few(beats: Rig, core: Core) -> None:
    statements: list[str] = []
    sa.event.listen(core.engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    counts: list[list[int]] = []
    for number in (3, 200):
        entries = {f"{number}-{place}": {**DAILY, "args": [place, number]} for place in range(number)}
        counts.append([])
        for wanted in (entries, {name: {**entry, "args": [0]} for name, entry in entries.items()}, {}):
            _define(core, **wanted)
            counts[-1].append(len(statements))
            statements.clear()
    few, many = counts
    # One that has many values may be cut in several.
    assert all(after <= before + 12 for before, after in zip(few, many, strict=True)), counts


def test_a_crontab_of_its_own_zone_keeps_it() -> None:
    from zoneinfo import ZoneInfo

    from sqlalchemy_celery_beat.tzcrontab import TzAwareCrontab

    own = definition({"task": "add", "schedule": TzAwareCrontab(minute="5", tz=ZoneInfo("Europe/Berlin"))}, "UTC")
    assert (own["timezone"], own["minute"], own["hour"]) == ("Europe/Berlin", "5", "*")
    assert definition(DAILY, "Asia/Kathmandu")["timezone"] == "Asia/Kathmandu"
