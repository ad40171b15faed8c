"""A schedule that keeps failing is paused with one alert, and a second one when it succeeds again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa
from flask import Flask

from beatdesk.execution.events import Entry, Event
from beatdesk.execution.ids import had_row
from tests.browser.server import add_person
from tests.runs.making import make_run
from tests.support import reading
from webapp.database.engine import now
from webapp.extensions import db
from webapp.identity.models import AuditEntry
from webapp.mail.service import compose
from webapp.mail_store.models import Mail
from webapp.recorder import recording
from webapp.run_store.models import Run
from webapp.run_store.states import RunState
from webapp.schedule_store import stored
from webapp.schedule_store.models import ScheduleRevision
from webapp.schedules import service

pytestmark = pytest.mark.each_database

ENDS = {"f": Event.FAILED, "s": Event.SUCCEEDED, "r": Event.REVOKED, "e": Event.EXPIRED}


@pytest.fixture
def number(context: Flask) -> int:
    add_person(context, "admin")
    add_person(context, "viewer")
    fields = {"name": "report", "task": "add", "args": [1, 2], "kind": "interval", "every": 1, "period": "hours"}
    return service.create({**fields, "failure_budget": 3}).id


def ends(number: int, text: str, batch: int = 100, at: datetime | None = None) -> list[bool]:
    """Runs of the schedule end like this, one after the other, in batches of so many."""
    moment = at or now()
    entries = []
    for place, letter in enumerate(text):
        run_id = make_run(RunState.STARTED, schedule_id=number, created_at=moment + timedelta(milliseconds=place))
        entries.append(Entry(run_id, ENDS[letter], 0, moment + timedelta(seconds=1), text="ValueError: no\nmore"))
    return [record(entries[place : place + batch]) for place in range(0, len(entries), batch)]


def record(entries: Sequence[Entry]) -> bool:
    with db.engine.begin() as connection:
        return recording.apply(connection, entries)


def alerts() -> list[tuple[str, str]]:
    """The messages, and whether the run that sends each is on its way."""
    with reading():
        query = sa.select(Mail.kind, Run.state).join(Run, Run.id == Mail.run_id).order_by(Mail.id)
        return [(kind, state) for kind, state in db.session.execute(query)]


def find(number: int) -> stored.Stored:
    with reading():
        return service.get(number)


@pytest.mark.parametrize(
    ("text", "paused"),
    [("ff", False), ("fsff", False), ("fff", True), ("frfef", True), ("fffs", False)],
)
def test_so_many_failures_in_a_row_pause_it(number: int, text: str, paused: bool) -> None:
    assert any(ends(number, text)) is paused
    found = find(number)
    assert found.paused is paused
    assert found.row.pause_reason == ("3 consecutive failures: ValueError: no" if paused else None)
    assert alerts() == ([("schedule_paused", "queued")] if paused else [])


def test_one_alert_for_any_number_of_failures_and_batches(number: int) -> None:
    revision = db.session.scalar(sa.select(ScheduleRevision.revision)) or 0
    db.session.commit()
    assert ends(number, "ffff", batch=1) == [False, False, True, False]
    assert (find(number).row.revision or 0) > revision
    assert alerts() == [("schedule_paused", "queued")]
    with reading():
        entry = db.session.scalars(sa.select(AuditEntry).where(AuditEntry.action == "schedule.pause")).one()
        assert (entry.actor, entry.object_id) == ("system", str(number))
        mail = db.session.scalars(sa.select(Mail)).one()
        assert mail.recipient == "admin@example.org"
        letter = compose(mail)
        assert "ValueError: no" in letter.text
        assert f"/schedules/{number}" in letter.html
        assert json.loads(mail.context)["schedule"] == "report"
        # As any other message's: a row before it has a message.
        run = db.session.get_one(Run, mail.run_id)
        assert had_row(run.id)
        assert (run.task, run.args, run.origin) == ("mail.send_mail", json.dumps([mail.id]), "task")


def test_resumed_schedule_counts_again_and_reports_recovery(number: int) -> None:
    ends(number, "fff", at=now() - timedelta(hours=1))
    ends(number, "s", at=now() - timedelta(minutes=30))
    assert [kind for kind, _state in alerts()] == ["schedule_paused"]
    service.resume(number)
    assert find(number).row.failing_since is not None
    assert ends(number, "ff") == [False]
    ends(number, "ss", at=now() + timedelta(seconds=5))
    found = find(number)
    assert (found.paused, found.row.failing_since) == (False, None)
    assert [kind for kind, _state in alerts()] == ["schedule_paused", "schedule_recovered"]


def test_without_a_budget_nothing_is_paused(number: int) -> None:
    service.save(number, {"failure_budget": ""})
    assert ends(number, "fffff") == [False]
    assert not find(number).paused
