from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from tests.visitors import Visitor, field_errors, number_of
from webapp.extensions import db
from webapp.identity.models import AuditEntry
from webapp.schedule_store import stored
from webapp.schedule_store.models import ScheduleRevision, ScheduleVersion
from webapp.schedule_store.stored import Stored

pytestmark = pytest.mark.each_database

Filled = Callable[..., dict[str, Any]]


def find(app: Flask, number: int) -> Stored:
    with app.app_context():
        found = stored.find(db.session, number)
        db.session.remove()
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"kind": "interval", "every": "10", "period": "minutes"}, ("intervalschedule", "every", 10)),
        ({"kind": "crontab", "crontab": "*/5 9-17 * * mon-fri"}, ("crontabschedule", "day_of_week", "mon-fri")),
        (
            {"kind": "solar", "event": "sunset", "latitude": "52.52", "longitude": "13.4"},
            ("solarschedule", "latitude", 52.52),
        ),
        ({"kind": "clocked", "at": "2099-06-01T12:00"}, ("clockedschedule", "one_off", True)),
        ({"kind": "one-time", "at": "2099-06-01T12:00"}, ("clockedschedule", "one_off", True)),
    ],
)
def test_each_kind_becomes_the_librarys_rows(
    app: Flask, scheduler: Visitor, filled: Filled, fields: dict[str, str], expected: tuple[str, str, Any]
) -> None:
    discriminator, column, value = expected
    made = find(app, number_of(scheduler.post("/schedules", filled(**fields))))
    assert made.row.discriminator == discriminator
    assert getattr(made.row, column) == value
    assert made.row.enabled
    assert made.problem is None
    assert json.loads(made.row.args) == [1, 2]


def test_one_time_is_kept_in_utc(app: Flask, scheduler: Visitor, filled: Filled) -> None:
    fields = filled(kind="clocked", at="2099-06-01T12:00", timezone="Asia/Kathmandu")
    made = find(app, number_of(scheduler.post("/schedules", fields)))
    assert made.row.clocked_time == datetime(2099, 6, 1, 6, 15, tzinfo=UTC)
    assert made.timezone == "Asia/Kathmandu"


def test_start_and_end_are_meant_on_the_zones_clock(app: Flask, scheduler: Visitor, filled: Filled) -> None:
    made = find(app, number_of(scheduler.post("/schedules", filled(start="2027-07-01T00:00", end="2027-12-01T00:00"))))
    assert made.row.start_time == datetime(2027, 6, 30, 22, tzinfo=UTC)
    assert made.row.ends_at == datetime(2027, 11, 30, 23, tzinfo=UTC)


def test_one_transaction_writes_version_audit_and_revision(app: Flask, scheduler: Visitor, filled: Filled) -> None:
    number = number_of(scheduler.post("/schedules", filled(tags="nightly, reports")))
    with app.app_context():
        version = db.session.scalars(sa.select(ScheduleVersion).where(ScheduleVersion.schedule_id == number)).one()
        entry = db.session.scalars(sa.select(AuditEntry).where(AuditEntry.object_type == "schedule")).one()
        revision = db.session.get_one(ScheduleRevision, 1).revision
        db.session.remove()
    assert version.version == 1
    assert json.loads(version.snapshot)["tags"] == ["nightly", "reports"]
    assert version.author.startswith("Sita Gurung")
    assert (entry.action, entry.object_id, entry.object_name) == ("schedule.create", str(number), "Sums")
    assert find(app, number).row.revision == revision > 0


def test_json_makes_one_and_answers_it(scheduler: Visitor, filled: Filled) -> None:
    answer = scheduler.post_json("/schedules", filled(args=[1], kwargs={"num2": 2}, enabled=False))
    assert answer.status_code == 201
    made = answer.get_json()
    assert answer.headers["Location"] == f"/schedules/{made['id']}"
    assert (made["kwargs"], made["enabled"], made["version"]) == ({"num2": 2}, False, 1)
    assert made["words"] == "every day at 08:30, Europe/Berlin time"


def test_json_errors_name_their_fields(scheduler: Visitor, filled: Filled) -> None:
    answer = scheduler.post_json("/schedules", filled(crontab="0 0 31 2 *", priority=99_999))
    assert answer.status_code == 422
    assert answer.get_json()["fields"].keys() == {"crontab", "priority"}
    assert answer.get_json()["error"]


def test_errors_stand_at_their_fields_and_everything_typed_is_kept(scheduler: Visitor, filled: Filled) -> None:
    typed = filled(name="", crontab="61 * * * *", queue="slow lane", description="<b>why</b>", every="77")
    answer = scheduler.post("/schedules", typed)
    assert answer.status_code == 422
    assert field_errors(answer).keys() == {"name", "crontab", "queue"}
    assert 'value="61 * * * *"' in answer.text
    assert 'value="77"' in answer.text
    assert "&lt;b&gt;why&lt;/b&gt;" in answer.text


def test_a_name_is_taken_once(scheduler: Visitor, filled: Filled) -> None:
    assert scheduler.post("/schedules", filled()).status_code == 303
    answer = scheduler.post("/schedules", filled())
    assert answer.status_code == 422
    assert field_errors(answer) == {"name": "Another schedule has this name."}


def test_an_unticked_box_disables_and_a_missing_one_does_not(app: Flask, scheduler: Visitor, filled: Filled) -> None:
    assert not find(app, number_of(scheduler.post("/schedules", filled(enabled="0")))).row.enabled
    both = scheduler.post("/schedules", {**filled(name="Both"), "enabled": ["0", "1"]})
    assert find(app, number_of(both)).row.enabled


def test_two_schedules_share_a_place_but_no_other_rule(app: Flask, scheduler: Visitor, filled: Filled) -> None:
    sun = {"kind": "solar", "event": "sunset", "latitude": "1", "longitude": "2"}
    first, second = (find(app, number_of(scheduler.post("/schedules", filled(name=name, **sun)))) for name in "ab")
    assert first.row.rule_id == second.row.rule_id
    third, fourth = (find(app, number_of(scheduler.post("/schedules", filled(name=name)))) for name in "cd")
    assert third.row.rule_id != fourth.row.rule_id
