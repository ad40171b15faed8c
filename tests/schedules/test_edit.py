from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis as redis_client
import sqlalchemy as sa
from flask import Flask

from tests.servers import wait_for
from tests.visitors import Visitor, field_errors, number_of
from webapp.database.engine import now
from webapp.extensions import db
from webapp.identity.models import AuditEntry
from webapp.messaging.beat_wakeup import CHANNEL
from webapp.schedule_store import stored
from webapp.schedule_store.models import ScheduleDetail, ScheduleTombstone, ScheduleVersion
from webapp.schedule_store.rows import CLOCKEDS, CRONTABS, INTERVALS, SOLARS, TASKS
from webapp.schedule_store.stored import Stored
from webapp.schedules import service

pytestmark = pytest.mark.each_database

Filled = Callable[..., dict[str, Any]]


def find(app: Flask, number: int) -> Stored:
    with app.app_context():
        found = stored.find(db.session, number)
        db.session.remove()
    assert found is not None
    return found


def count(app: Flask, table: Any) -> int:
    with app.app_context():
        found = db.session.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
        db.session.remove()
    return int(found)


def test_a_save_writes_the_next_version_and_a_higher_revision(app: Flask, scheduler: Visitor, number: int) -> None:
    before = find(app, number)
    assert scheduler.post(f"/schedules/{number}", {"crontab": "45 9 * * *"}).status_code == 303
    after = find(app, number)
    assert after.snapshot == {**before.snapshot, "crontab": "45 9 * * *"}
    assert after.row.version == 2
    assert after.row.revision > before.row.revision


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "interval", "every": "3", "period": "hours"},
        {"kind": "solar", "event": "sunrise", "latitude": "-33.9", "longitude": "151.2"},
        {"kind": "clocked", "at": "2098-01-01T00:00"},
        {"kind": "crontab", "crontab": "1 1 1 1 *"},
    ],
)
def test_a_kind_can_become_another_and_leaves_no_orphan(
    app: Flask, scheduler: Visitor, number: int, fields: dict[str, str]
) -> None:
    assert scheduler.post(f"/schedules/{number}", fields).status_code == 303
    after = find(app, number)
    assert after.kind == fields["kind"]
    assert after.problem is None
    assert bool(after.row.one_off) == (fields["kind"] == "clocked")
    assert sum(count(app, table) for table in (INTERVALS, CRONTABS, SOLARS, CLOCKEDS)) == 1


def test_a_rule_that_two_schedules_share_stays_for_the_other(
    app: Flask, scheduler: Visitor, filled: Filled, number: int
) -> None:
    other = number_of(scheduler.post("/schedules", filled(name="Other")))
    with app.app_context():
        shared = sa.select(TASKS.c.schedule_id).where(TASKS.c.id == number).scalar_subquery()
        db.session.execute(sa.update(TASKS).where(TASKS.c.id == other).values(schedule_id=shared))
        db.session.commit()
        db.session.remove()
    scheduler.post(f"/schedules/{number}", {"crontab": "0 0 * * *"})
    assert find(app, other).snapshot["crontab"] == "30 8 * * *"
    assert find(app, number).snapshot["crontab"] == "0 0 * * *"


def test_a_save_that_changes_nothing_writes_nothing(app: Flask, scheduler: Visitor, number: int) -> None:
    before = find(app, number)
    assert scheduler.post(f"/schedules/{number}", {"name": "Sums"}).status_code == 303
    after = find(app, number)
    assert (after.row.version, after.row.revision) == (1, before.row.revision)


def test_an_interval_keeps_its_grid_unless_it_is_changed(app: Flask, scheduler: Visitor, number: int) -> None:
    scheduler.post(f"/schedules/{number}", {"kind": "interval", "every": "7", "period": "hours"})
    anchor = find(app, number).row.anchor
    scheduler.post(f"/schedules/{number}", {"name": "Renamed"})
    assert find(app, number).row.anchor == anchor
    with app.app_context():
        db.session.execute(sa.update(ScheduleDetail).values(anchor=anchor - timedelta(hours=3)))
        db.session.commit()
        db.session.remove()
    scheduler.post(f"/schedules/{number}", {"every": "8"})
    found = find(app, number)
    assert found.row.anchor > anchor - timedelta(hours=3)
    assert found.due_times(now(), 1)[0].utc - now() > timedelta(hours=7, minutes=58)


def test_disable_and_enable_are_versions(app: Flask, scheduler: Visitor, number: int) -> None:
    assert scheduler.post(f"/schedules/{number}/disable").status_code == 303
    assert not find(app, number).row.enabled
    assert scheduler.post(f"/schedules/{number}/enable").status_code == 303
    after = find(app, number)
    assert after.row.enabled
    assert after.row.version == 3
    with app.app_context():
        about = sa.select(AuditEntry.action).where(AuditEntry.object_type == "schedule").order_by(AuditEntry.id)
        actions = db.session.scalars(about).all()
        db.session.remove()
    assert actions == ["schedule.create", "schedule.disable", "schedule.enable"]


def test_delete_keeps_versions_and_leaves_a_tombstone(app: Flask, scheduler: Visitor, number: int) -> None:
    assert scheduler.post(f"/schedules/{number}/delete").headers["Location"] == "/schedules"
    assert scheduler.get(f"/schedules/{number}").status_code == 404
    assert count(app, CRONTABS) == count(app, ScheduleDetail.__table__) == 0
    assert count(app, ScheduleTombstone.__table__) == count(app, ScheduleVersion.__table__) == 1


def test_each_change_wakes_beat_with_its_revision(
    app: Flask, scheduler: Visitor, number: int, redis: redis_client.Redis
) -> None:
    listener = redis.pubsub(ignore_subscribe_messages=True)
    listener.subscribe(CHANNEL)
    wait_for(lambda: listener.get_message(timeout=0.1) is None)
    scheduler.post(f"/schedules/{number}", {"crontab": "0 7 * * *"})
    said = wait_for(lambda: listener.get_message(timeout=0.1))
    listener.close()
    assert int(said["data"]) == find(app, number).row.revision


def test_pause_and_resume(app: Flask, visit: Callable[[str], Visitor], number: int) -> None:
    operator = visit("operator")
    assert (
        operator.post(f"/schedules/{number}/pause", {"reason": "moving", "until": "2098-01-01T00:00"}).status_code
        == 303
    )
    paused = find(app, number)
    assert paused.paused
    assert paused.row.paused_until == datetime(2097, 12, 31, 23, tzinfo=UTC)
    assert "moving" in operator.get(f"/schedules/{number}").text
    assert operator.post(f"/schedules/{number}/resume").status_code == 303
    assert not find(app, number).paused
    assert find(app, number).row.version == 1


def test_a_pause_cannot_end_in_the_past(scheduler: Visitor, number: int) -> None:
    answer = scheduler.post_json(f"/schedules/{number}/pause", {"until": "2001-01-01T00:00"})
    assert answer.status_code == 422
    assert answer.get_json()["fields"] == {"until": "This time is in the past."}


def test_a_passed_one_time_can_be_described_but_not_enabled(app: Flask, scheduler: Visitor, number: int) -> None:
    scheduler.post(f"/schedules/{number}", {"kind": "clocked", "at": "2098-01-01T00:00"})
    with app.app_context():
        db.session.execute(sa.update(CLOCKEDS).values(clocked_time=datetime(2020, 1, 1, tzinfo=UTC)))
        db.session.execute(sa.update(TASKS).values(enabled=False))
        db.session.commit()
        db.session.remove()
    assert scheduler.post(f"/schedules/{number}", {"description": "over"}).status_code == 303
    assert scheduler.post(f"/schedules/{number}/enable").status_code == 409
    answer = scheduler.post(f"/schedules/{number}", {"at": "2021-01-01T00:00"})
    assert field_errors(answer) == {"at": "This time is in the past."}


def test_one_whose_task_is_gone_can_be_disabled(app: Flask, scheduler: Visitor, number: int) -> None:
    with app.app_context():
        db.session.execute(sa.update(TASKS).values(task="was.removed"))
        db.session.commit()
        db.session.remove()
    assert scheduler.post(f"/schedules/{number}/disable").status_code == 303
    assert not find(app, number).row.enabled
    assert scheduler.post(f"/schedules/{number}/enable").status_code == 422


def test_one_that_the_code_defines_is_not_deleted(app: Flask, scheduler: Visitor, number: int) -> None:
    with app.app_context():
        db.session.execute(sa.update(ScheduleDetail).values(owner="code", code_definition=json.dumps({"task": "add"})))
        db.session.commit()
        db.session.remove()
    assert scheduler.post(f"/schedules/{number}/delete").status_code == 409
    assert find(app, number).name == "Sums"


def test_an_edit_survives_a_redis_that_is_away(app: Flask, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with app.test_request_context():
        app.extensions.pop("redis", None)
        monkeypatch.setattr(
            "webapp.messaging.broker.connect", lambda _url: redis_client.Redis.from_url("redis://127.0.0.1:1/0")
        )
        service.save(number, {"crontab": "1 2 3 4 *"})
        db.session.remove()
        app.extensions.pop("redis", None)
    assert find(app, number).snapshot["crontab"] == "1 2 3 4 *"
