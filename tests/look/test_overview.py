"""The front page and its numbers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy_celery_beat.models import IntervalSchedule, Period, PeriodicTask

from tests.visitors import Visitor
from webapp.database.engine import now
from webapp.extensions import db
from webapp.mail_store.models import Mail, MailState
from webapp.overview import service
from webapp.run_store.models import Run
from webapp.run_store.states import RunState

pytestmark = pytest.mark.each_database


def fill() -> None:
    """Two schedules, one enabled; three failed runs of today and one of last week; a mail in doubt."""
    every = IntervalSchedule(every=1, period=Period.HOURS)
    db.session.add(every)
    db.session.flush()
    for number, enabled in enumerate((True, False)):
        db.session.add(PeriodicTask(name=f"s{number}", task="add", schedule_model=every, enabled=enabled))
    for number in range(4):
        made = now() - timedelta(days=7 if number == 3 else 0)
        db.session.add(Run(id=f"run-{number}", task="add", state=RunState.FAILED, created_at=made))
    db.session.add(Mail(key="k", kind="birthday", recipient="a@example.org", state=MailState.IN_DOUBT))
    db.session.commit()


def test_counts_are_of_the_last_24_hours(context: Flask) -> None:
    fill()
    counts = service.counts(now())
    assert (counts.schedules, counts.enabled, counts.mails_in_doubt) == (2, 1, 1)
    assert [state for state, _ in counts.runs] == list(RunState)
    assert dict(counts.runs)[RunState.FAILED] == 3
    assert sum(count for _, count in counts.runs) == 3


def test_viewers_see_counts_that_link(app: Flask, signed_in: Callable[[str], Visitor]) -> None:
    with app.app_context():
        fill()
        db.session.remove()
    page = signed_in("viewer").get("/").text
    assert 'href="/runs?state=failed"' in page
    assert '<span class="tile-count">3</span>' in page
    assert "1 email is in doubt" in page


def test_members_see_only_their_own(signed_in: Callable[[str], Visitor]) -> None:
    page = signed_in("member").get("/").text
    assert "Welcome, Sita Gurung" in page
    assert 'href="/account"' in page
    assert "/schedules" not in page


def test_the_front_page_asks_few_queries(app: Flask, signed_in: Callable[[str], Visitor]) -> None:
    client = signed_in("viewer")
    asked: list[str] = []
    with app.app_context():
        engine = db.engine
    # What is wrong is looked up once for all pages, by threads of its own.
    app.extensions["health"].health()

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        if statement.startswith("SELECT"):
            asked.append(statement)

    sa.event.listen(engine, "before_cursor_execute", note)
    assert client.get("/").status_code == 200
    assert len(asked) <= 6
