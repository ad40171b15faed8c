from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from celery.schedules import crontab
from flask import Flask

from tests.visitors import Visitor
from webapp.extensions import db
from webapp.schedule_store.models import ScheduleDetail, ScheduleVersion
from webapp.schedules import history, service

Filled = Callable[..., dict[str, Any]]


def test_versions_show_changes_and_can_be_restored(app: Flask, scheduler: Visitor, number: int) -> None:
    scheduler.post(f"/schedules/{number}", {"crontab": "0 6 * * *", "queue": "slow"})
    with app.app_context():
        newest, first = history.versions(number)
        db.session.remove()
    assert [(change.field, change.before, change.after) for change in newest.changes] == [
        ("crontab", "30 8 * * *", "0 6 * * *"),
        ("queue", None, "slow"),
    ]
    assert (newest.version, first.version, first.changes) == (2, 1, [])
    assert scheduler.post(f"/schedules/{number}/versions/1/restore").status_code == 303
    found = scheduler.read(f"/schedules/{number}")
    assert (found["crontab"], found["queue"], found["version"]) == ("30 8 * * *", None, 3)


def test_going_back_does_not_enable(scheduler: Visitor, number: int) -> None:
    scheduler.post(f"/schedules/{number}", {"crontab": "0 6 * * *", "enabled": "0"})
    scheduler.post(f"/schedules/{number}/versions/1/restore")
    found = scheduler.read(f"/schedules/{number}")
    assert (found["crontab"], found["enabled"]) == ("30 8 * * *", False)


def test_a_version_that_never_was_is_not_found(scheduler: Visitor, number: int) -> None:
    assert scheduler.post(f"/schedules/{number}/versions/9/restore").status_code == 404


def test_what_others_wrote_gets_a_version_at_its_first_edit(app: Flask, scheduler: Visitor, number: int) -> None:
    with app.app_context():
        db.session.execute(sa.delete(ScheduleVersion))
        db.session.commit()
        db.session.remove()
    scheduler.post(f"/schedules/{number}", {"crontab": "0 6 * * *"})
    scheduler.post(f"/schedules/{number}/versions/1/restore")
    assert scheduler.read(f"/schedules/{number}")["crontab"] == "30 8 * * *"


def test_two_who_edit_at_once_see_all_three_and_lose_nothing(scheduler: Visitor, number: int, filled: Filled) -> None:
    opened = filled(version="1")
    assert (
        scheduler.post(f"/schedules/{number}", {**opened, "crontab": "0 6 * * *", "queue": "theirs"}).status_code == 303
    )
    answer = scheduler.post(f"/schedules/{number}", {**opened, "crontab": "0 7 * * *", "description": "mine"})
    assert answer.status_code == 409
    text = " ".join(re.sub(r"<.*?>", "", answer.text).split())
    assert re.search(
        r"Sita Gurung saved version 2 (now|\d+ s ago), at 20\S+ \S+ Asia/Kathmandu \(UTC\+05:45\)\. You edited",
        text,
    )
    rows = re.findall(r"<tr.*?</tr>", answer.text, re.DOTALL)
    clash = next(row for row in rows if "changed in both" in row)
    assert [text in clash for text in ("30 8 * * *", "0 6 * * *", "0 7 * * *")] == [True] * 3
    # The form has both together, and the version that it was made from.
    assert 'value="0 7 * * *"' in answer.text
    assert 'value="theirs"' in answer.text
    assert "mine</textarea>" in answer.text
    assert 'name="version" value="2"' in answer.text
    assert scheduler.read(f"/schedules/{number}")["crontab"] == "0 6 * * *"


def test_programs_get_a_409_too(scheduler: Visitor, number: int) -> None:
    assert scheduler.post_json(f"/schedules/{number}", {"crontab": "0 6 * * *", "version": 1}).status_code == 200
    answer = scheduler.post_json(f"/schedules/{number}", {"crontab": "0 7 * * *", "version": 1})
    assert answer.status_code == 409
    assert "Sita Gurung saved version 2" in answer.get_json()["error"]


def test_conflict_names_the_command_line_too(app: Flask, scheduler: Visitor, number: int) -> None:
    with app.app_context():
        service.save(number, {"queue": "slow"})
        db.session.remove()
    answer = scheduler.post_json(f"/schedules/{number}", {"crontab": "0 7 * * *", "version": 1})
    assert answer.get_json()["error"].startswith("The command line saved version 2 of ")


@pytest.fixture
def from_code(app: Flask, number: int) -> int:
    """As beat installs it."""
    from webapp.scheduler.install import definition

    said = definition({"task": "add", "args": [1, 2], "schedule": crontab(minute="30", hour="8")}, "Europe/Berlin")
    with app.app_context():
        db.session.execute(sa.update(ScheduleDetail).values(owner="code", code_definition=json.dumps(said)))
        db.session.commit()
        db.session.remove()
    return number


def test_schedule_equal_to_the_code_does_not_drift(scheduler: Visitor, from_code: int) -> None:
    page = scheduler.get(f"/schedules/{from_code}").text
    assert "from code" in page
    assert "Differs from code" not in page


def test_drift_is_shown_and_reset_field_by_field(scheduler: Visitor, from_code: int) -> None:
    scheduler.post(f"/schedules/{from_code}", {"kind": "interval", "every": "5", "period": "days", "queue": "slow"})
    page = scheduler.get(f"/schedules/{from_code}").text
    assert "Differs from code" in page
    assert "crontab 30 8 * * * (Europe/Berlin)" in page
    scheduler.post(f"/schedules/{from_code}/reset", {"field": "when"})
    found = scheduler.read(f"/schedules/{from_code}")
    assert (found["crontab"], found["queue"]) == ("30 8 * * *", "slow")
    scheduler.post(f"/schedules/{from_code}/reset")
    assert scheduler.read(f"/schedules/{from_code}")["queue"] is None


def test_one_that_the_code_does_not_define_cannot_be_reset(scheduler: Visitor, number: int) -> None:
    assert scheduler.post_json(f"/schedules/{number}/reset", {}).status_code == 409
