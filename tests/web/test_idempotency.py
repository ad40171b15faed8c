"""A form that is sent twice is handled once, and a change is one audit entry for any number of requests."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from flask import Flask

from tests.runs.making import make_run
from tests.support import add_person, fresh, reading
from tests.visitors import Visitor, add_user
from webapp.config import Settings
from webapp.database.engine import now
from webapp.extensions import db
from webapp.identity.models import AuditEntry, User
from webapp.mail.service import unsubscribe_url
from webapp.mail_store.models import Mail, MailState
from webapp.run_store.models import Run
from webapp.run_store.states import RunState
from webapp.schedules import service
from webapp.web.idempotency import FIELD, HandledForm, new_key

pytestmark = pytest.mark.each_database

WHEN = {"task": "add", "args": [1, 2], "kind": "crontab", "crontab": "0 8 * * *"}
NUMBERS = {"task": "add", "arg.num1": "1", "arg.num2": "2"}
AT_ONCE = 6


@pytest.fixture
def operators(context: Flask) -> list[Visitor]:
    return [Visitor(context, "admin") for _ in range(AT_ONCE)]


def together(visitors: list[Visitor], path: str, data: dict[str, str]) -> list[tuple[int, str | None]]:
    """The status and location of each response to the same form, sent by all at the same moment."""

    def send(visitor: Visitor) -> tuple[int, str | None]:
        answer = visitor.post(path, dict(data))
        return answer.status_code, answer.location

    with ThreadPoolExecutor(len(visitors)) as pool:
        return list(pool.map(send, visitors))


def rows(action: str) -> int:
    with reading():
        return len(db.session.scalars(sa.select(AuditEntry.id).where(AuditEntry.action == action)).all())


def runs() -> list[str]:
    with reading():
        return list(db.session.scalars(sa.select(Run.id)))


def test_a_form_that_is_sent_many_times_at_once_is_handled_once(operators: list[Visitor]) -> None:
    schedule = service.create({"name": "Sums", **WHEN})
    failed = make_run(RunState.FAILED, task="add", args="[1, 2]")
    made = 1
    for path, data, action in (
        ("/runs/new", NUMBERS, "run.launch"),
        (f"/runs/{failed}/retry", {}, "run.retry"),
        (f"/schedules/{schedule.id}/run", {}, "schedule.run"),
    ):
        answers = together(operators, path, {**data, FIELD: new_key()})
        assert len(set(answers)) == 1, path
        assert answers[0][0] == 303
        assert len(runs()) == made + 1, path
        assert answers[0][1] in {f"/runs/{run_id}" for run_id in runs()}
        assert rows(action) == 1
        made += 1
    unconfirmed = make_run(RunState.UNCONFIRMED, task="add", args="[1, 2]")
    answers = together(operators, f"/runs/{unconfirmed}/send-again", {FIELD: new_key()})
    assert set(answers) == {(303, f"/runs/{unconfirmed}")}
    assert rows("run.send_again") == 1


def test_the_pages_send_a_key_with_each_form(operators: list[Visitor]) -> None:
    make_run(RunState.FAILED, task="add", args="[1, 2]")
    operator, found = operators[0], r'name="idempotency_key" value="([^"]+)"'
    page = operator.get("/runs/new?task=add").text
    (key,) = re.findall(found, page[page.index('action="/runs/new"') :])[:1]
    first = operator.post("/runs/new", {**NUMBERS, FIELD: key})
    again = operator.post("/runs/new", {**NUMBERS, FIELD: key})
    assert (first.status_code, again.location) == (303, first.location)
    assert "sent twice; the action was done once" in operator.get(again.location).text
    # With other arguments, after a step back, it is another form; and so is one that is rendered anew.
    assert operator.post("/runs/new", {**NUMBERS, "arg.num1": "5", FIELD: key}).location != first.location
    assert key not in operator.get("/runs/new?task=add").text
    assert len(runs()) == 3


def test_a_form_that_was_refused_can_be_sent_again_and_a_program_needs_no_key(operators: list[Visitor]) -> None:
    operator, key = operators[0], new_key()
    assert operator.post("/runs/new", {**NUMBERS, "arg.num1": "x", FIELD: key}).status_code == 422
    assert operator.post("/runs/gone/retry", {FIELD: key}).status_code == 404
    with reading():
        assert db.session.scalars(sa.select(HandledForm.digest)).all() == []
    assert operator.post("/runs/new", {**NUMBERS, FIELD: key}).status_code == 303
    for _ in range(2):
        assert operator.post("/runs/new", NUMBERS).status_code == 303
    assert len(runs()) == 3


def test_a_state_change_is_one_row_however_many_ask_for_it(
    operators: list[Visitor], context: Flask, settings: Settings
) -> None:
    schedule = service.create({"name": "Sums", **WHEN})
    started = make_run(RunState.STARTED, started_at=now())
    queued, unconfirmed = make_run(RunState.QUEUED), make_run(RunState.UNCONFIRMED)
    person = add_person("maya@example.org")
    mail = Mail(
        key="x", kind="birthday", recipient="maya@example.org", recipient_name="Maya", state=MailState.IN_DOUBT,
        user_id=person.id,
    )  # fmt: skip
    db.session.add(mail)
    db.session.commit()
    mail_id, person_id = mail.id, person.id
    link = unsubscribe_url(settings, person_id, "birthday")
    assert link is not None
    number = schedule.id
    db.session.rollback()
    for path, action in (
        (f"/runs/{started}/cancel", "run.cancel"),
        (f"/runs/{queued}/cancel", "run.cancel"),
        (f"/runs/{unconfirmed}/confirm", "run.confirm"),
        (f"/schedules/{number}/pause", "schedule.pause"),
        (f"/schedules/{number}/resume", "schedule.resume"),
        (f"/schedules/{number}/disable", "schedule.disable"),
        (f"/schedules/{number}/enable", "schedule.enable"),
        (f"/mail/{mail_id}/settle", "mail.settle"),
        (link.removeprefix(settings.public_url), "person.unsubscribe"),
    ):
        before = rows(action)
        statuses = {status for status, _ in together(operators, path, {})}
        assert statuses <= {200, 303, 409}, path
        assert rows(action) == before + 1, path
    with reading():
        entry = db.session.scalars(sa.select(AuditEntry).where(AuditEntry.action == "person.unsubscribe")).one()
        # Who used the link, not whose it is.
        assert "<admin@example.org>" in entry.actor
    assert not fresh(User, person_id).wants_birthday_mail


@pytest.mark.parametrize("role", ["viewer", "operator", "admin"])
def test_the_link_to_unsubscribe_is_not_on_pages(context: Flask, settings: Settings, role: str) -> None:
    add_user(context, "maya@example.com", "member", name="Maya")
    person = db.session.scalars(sa.select(User).where(User.email == "maya@example.com")).one()
    mail = Mail(key="x", kind="birthday", recipient="maya@example.com", recipient_name="Maya", user_id=person.id)
    db.session.add(mail)
    db.session.commit()
    link, mail_id = unsubscribe_url(settings, person.id, "birthday"), mail.id
    db.session.rollback()
    assert link is not None
    visitor = Visitor(context, role)
    for path in (f"/mail/{mail_id}", f"/mail/{mail_id}/html"):
        text = visitor.get(path).text
        assert link.rpartition("/")[2] not in text
        assert "/unsubscribe/hidden" in text
    assert visitor.post("/unsubscribe/hidden").status_code == 404
