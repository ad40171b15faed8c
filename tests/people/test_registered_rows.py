from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask

from tests.people.test_registering import FIELDS
from tests.visitors import PASSWORD, Visitor, add_user, all_rows
from webapp.accounts import service
from webapp.identity.models import AuditEntry, User
from webapp.mail_store.models import Mail
from webapp.people import registration
from webapp.run_store.models import Run

pytestmark = pytest.mark.each_database


@pytest.fixture(params=["form", "json"])
def send(request: pytest.FixtureRequest, app: Flask) -> Any:
    """Registers by a form or by JSON; returns the answer."""

    def by_form(**fields: str) -> Any:
        return Visitor(app).post("/register", {**FIELDS, **fields}, page="/register")

    def by_json(**fields: str) -> Any:
        return Visitor(app).post_json("/register", {**FIELDS, **fields}, page="/register")

    return by_form if request.param == "form" else by_json


def test_it_writes_person_mail_and_run(app: Flask, send: Any) -> None:
    answer = send()
    if answer.is_json:
        assert (answer.status_code, answer.json) == (201, {"status": "registered"})
    else:
        assert (answer.status_code, answer.location) == (303, "/register/done")
    (user,), (mail,), (run,) = all_rows(app, User), all_rows(app, Mail), all_rows(app, Run)
    assert (user.name, user.email, user.timezone) == ("Maya Gurung", "maya@example.com", "Asia/Kathmandu")
    assert (user.birthday, user.birthday_key, user.active) == (date(1990, 2, 28), 228, True)
    assert [role.name for role in user.roles] == ["member"]
    assert user.password.startswith("$argon2id$")
    assert (mail.key, mail.kind, mail.recipient, mail.run_id) == (f"welcome:{user.id}", "welcome", user.email, run.id)
    assert (run.task, json.loads(run.args), run.origin) == ("mail.send_mail", [mail.id], "registration")
    assert run.sent_at is not None


def test_it_is_audited_once_without_the_password(app: Flask, send: Any) -> None:
    send()
    (entry,) = all_rows(app, AuditEntry)
    assert (entry.action, entry.actor) == ("person.register", "Maya Gurung <maya@example.com>")
    assert entry.before is None
    assert json.loads(entry.after)["email"] == "maya@example.com"
    assert "argon2" not in entry.after
    assert PASSWORD not in entry.after


def test_registered_person_can_sign_in(app: Flask, send: Any) -> None:
    send()
    assert Visitor(app).sign_in().status_code == 303


def test_all_of_it_or_nothing(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_args: object, **_more: object) -> None:
        raise sa.exc.OperationalError("INSERT", {}, Exception("the disk is full"))

    monkeypatch.setattr(registration, "enqueue", broken)
    browser = Visitor(app)
    assert browser.post("/register", FIELDS, page="/register").status_code == 503
    assert [all_rows(app, model) for model in (User, Mail, Run, AuditEntry)] == [[], [], [], []]


def test_a_taken_address_answers_like_a_free_one(app: Flask, send: Any) -> None:
    answers = [send(), send(name="Sita Rai", password="nine loud bicycles")]
    visible = [(answer.status_code, answer.data, answer.location, sorted(answer.headers.keys())) for answer in answers]
    assert visible[0] == visible[1]
    (user,) = all_rows(app, User)
    assert user.name == "Maya Gurung"
    mails = all_rows(app, Mail)
    assert [mail.key for mail in mails] == [
        f"welcome:{user.id}",
        f"address-taken:{user.id}:{datetime.now(UTC).date().isoformat()}",
    ]
    assert mails[1].recipient_name == "Maya Gurung"
    assert {run.id for run in all_rows(app, Run)} == {mail.run_id for mail in mails}
    assert len(all_rows(app, AuditEntry)) == 1


def test_owner_is_notified_once_a_day(app: Flask, send: Any) -> None:
    statuses = {send().status_code for _ in range(4)}
    assert len(statuses) == 1
    assert [mail.kind for mail in all_rows(app, Mail)] == ["welcome", "address_taken"]


def test_a_disabled_owner_gets_no_mail(app: Flask, send: Any) -> None:
    add_user(app, active=False)
    assert send().status_code in (201, 303)
    assert all_rows(app, Mail) == []


def test_two_at_the_same_moment_become_one(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    add_user(app)
    looks: list[str] = []

    def unseen_at_first(email: str) -> User | None:
        looks.append(email)
        return None if len(looks) == 1 else service.by_email(email)

    monkeypatch.setattr(registration, "by_email", unseen_at_first)
    browser = Visitor(app)
    assert browser.post("/register", FIELDS, page="/register").status_code == 303
    assert len(looks) == 2
    assert [mail.kind for mail in all_rows(app, Mail)] == ["address_taken"]
    assert len(all_rows(app, User)) == 1
