"""No skip remains for a moment that is not a due time of its schedule, whatever changed it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from tests.visitors import Visitor, number_of
from webapp.extensions import db
from webapp.identity.models import AuditEntry
from webapp.run_store.models import Run

pytestmark = pytest.mark.each_database

Filled = Callable[..., dict[str, Any]]


@pytest.fixture
def number(scheduler: Visitor, filled: Filled) -> int:
    """One that was moved from 07:30 to 08:30, whose next two times are to be skipped."""
    made = number_of(scheduler.post("/schedules", filled(crontab="30 7 * * *")))
    scheduler.post_json(f"/schedules/{made}", {"crontab": "30 8 * * *"})
    for _ in range(2):
        scheduler.post_json(f"/schedules/{made}/skip")
    return made


def skipped(app: Flask) -> list[datetime]:
    with app.app_context():
        found = list(db.session.scalars(sa.select(Run.due_at).where(Run.state == "skipped").order_by(Run.due_at)))
        db.session.remove()
    return [due for due in found if due is not None]


def save(scheduler: Visitor, number: int) -> Any:
    return scheduler.post_json(f"/schedules/{number}", {"crontab": "30 9 * * *"}).get_json()["withdrawn"]


def change_its_zone(scheduler: Visitor, number: int) -> Any:
    return scheduler.post_json(f"/schedules/{number}", {"timezone": "Asia/Kathmandu"}).get_json()["withdrawn"]


def let_it_begin_later(scheduler: Visitor, number: int) -> Any:
    return scheduler.post_json(f"/schedules/{number}", {"start": "2099-01-01T00:00Z"}).get_json()["withdrawn"]


def restore(scheduler: Visitor, number: int) -> Any:
    return scheduler.post_json(f"/schedules/{number}/versions/1/restore").get_json()["withdrawn"]


def move(scheduler: Visitor, number: int) -> Any:
    answer = scheduler.post_json("/schedules/calendar/move", {"moves": [f"{number}:2:45"]}).get_json()
    return answer["moved"][0]["withdrawn"]


@pytest.mark.parametrize("change", [save, change_its_zone, let_it_begin_later, restore, move])
def test_an_edit_withdraws_the_skips_that_it_leaves_without_a_due_time(
    app: Flask, scheduler: Visitor, number: int, change: Callable[[Visitor, int], Any]
) -> None:
    before = skipped(app)
    assert [datetime.fromisoformat(due) for due in change(scheduler, number)] == before
    assert (len(before), skipped(app)) == (2, [])
    with app.app_context():
        entry = db.session.scalars(sa.select(AuditEntry).where(AuditEntry.action == "schedule.unskip")).one()
        assert len(json.loads(entry.before or "")["due_at"]) == 2
        db.session.remove()


def test_a_skip_of_what_is_still_due_stays(app: Flask, scheduler: Visitor, number: int) -> None:
    before = skipped(app)
    for changes in (
        {"name": "Other", "description": "x", "jitter": 5},
        {"crontab": "30 8,9 * * *"},
        {"enabled": False},
        {"enabled": True},
    ):
        assert scheduler.post_json(f"/schedules/{number}", changes).get_json()["withdrawn"] == []
    assert skipped(app) == before
    # Only one of the two is due after this.
    later = scheduler.post_json(f"/schedules/{number}", {"start": before[1].isoformat()}).get_json()
    assert [datetime.fromisoformat(due) for due in later["withdrawn"]] == before[:1]
    assert skipped(app) == before[1:]


def test_the_page_says_so(scheduler: Visitor, number: int, filled: Filled) -> None:
    scheduler.post(f"/schedules/{number}", filled(crontab="0 9 * * *"))
    page = scheduler.get(f"/schedules/{number}").text
    assert "No run was started. 2 skips withdrawn, because these times are no longer due: “Sums” 20" in page
    assert " 08:30 Europe/Berlin, “Sums” 20" in page


def test_import_removes_skips_and_reports_it(app: Flask, scheduler: Visitor, number: int) -> None:
    entry = {"name": "Sums", "task": "add", "args": [1, 2], "kind": "crontab", "crontab": "0 9 * * *"}
    entry |= {"timezone": "Europe/Berlin"}
    answer = scheduler.post_json("/schedules/import", {"file": json.dumps([entry]), "apply": True}).get_json()
    assert answer["steps"][0]["notes"][0].startswith("2 skips withdrawn")
    assert skipped(app) == []


def test_those_of_a_schedule_that_is_deleted_go_with_it(app: Flask, scheduler: Visitor, number: int) -> None:
    scheduler.post_json(f"/schedules/{number}/delete")
    assert skipped(app) == []
