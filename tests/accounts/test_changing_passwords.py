from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from flask import Flask

from tests.visitors import PASSWORD, Visitor, add_user, all_rows
from webapp.extensions import db
from webapp.identity import recovery
from webapp.identity.models import AuditEntry, User
from webapp.mail.service import compose
from webapp.mail_store.models import Mail
from webapp.run_store.models import Run

NEW = "eleven silent bicycles"


@pytest.fixture
def browser(app: Flask) -> Visitor:
    add_user(app)
    return Visitor(app)


def link(app: Flask) -> str:
    """A valid path for Maya's new password, as the mail has it."""
    with app.app_context():
        user = db.session.query(User).filter_by(email="maya@example.com").one()
        return recovery.reset_url(user, app.extensions["settings"]).removeprefix("http://127.0.0.1:5000")


def change(browser: Visitor, **fields: str) -> int:
    return browser.post(
        "/account/password", {"password": PASSWORD, "new_password": NEW} | fields, page="/account"
    ).status_code


def test_a_change_keeps_this_browser_and_ends_all_others(app: Flask, browser: Visitor) -> None:
    browser.sign_in()
    thief, elsewhere = browser.steal(browser.cookie()), Visitor(app)
    elsewhere.sign_in()
    assert change(browser) == 303
    assert browser.is_signed_in()
    assert not thief.is_signed_in()
    assert not elsewhere.is_signed_in()
    assert Visitor(app).sign_in().status_code == 401
    assert Visitor(app).sign_in(password=NEW).status_code == 303


def test_a_change_is_audited_once_and_without_the_password(app: Flask, browser: Visitor) -> None:
    browser.sign_in()
    change(browser)
    entries = [row for row in all_rows(app, AuditEntry) if row.action != "account.sign_in"]
    assert [(row.action, row.before, row.after) for row in entries] == [("account.change_password", None, None)]


@pytest.mark.parametrize(
    ("fields", "status", "said"),
    [
        ({"password": "wrong password here"}, 401, "Incorrect current password"),
        ({"new_password": "short"}, 422, "at least 12 characters"),
        ({"new_password": "password1234"}, 422, "guessed"),
        ({"new_password": "MayaGurung1990"}, 422, "guessed"),
        ({"new_password": PASSWORD}, 422, "must differ from the current one"),
    ],
)
def test_a_refused_change_stands_at_its_field(browser: Visitor, fields: dict[str, str], status: int, said: str) -> None:
    browser.sign_in()
    given = {"password": PASSWORD, "new_password": NEW} | fields
    answer = browser.post("/account/password", given, page="/account")
    assert answer.status_code == status
    assert said in answer.text
    assert browser.is_signed_in()
    assert Visitor(browser.app).sign_in().status_code == 303


def test_asking_for_a_link_mails_it_to_its_owner_only(app: Flask, browser: Visitor) -> None:
    answers = [
        browser.post("/reset", {"email": email}) for email in ("maya@example.com", "nobody@example.com", "x", "")
    ]
    assert [(answer.status_code, answer.location) for answer in answers] == [(303, "/reset/sent")] * 4
    mails, runs = all_rows(app, Mail), all_rows(app, Run)
    assert [(mail.kind, mail.recipient) for mail in mails] == [("password_reset", "maya@example.com")]
    assert [run.id for run in runs] == [mails[0].run_id]


def test_asking_again_at_once_mails_once(app: Flask, browser: Visitor) -> None:
    with time_machine.travel(datetime(2026, 11, 22, 12, 1, tzinfo=UTC), tick=True):
        browser.post("/reset", {"email": "maya@example.com"})
        browser.post("/reset", {"email": "maya@example.com"})
    assert len(all_rows(app, Mail)) == 1


def test_ledger_never_shows_the_link_that_the_mail_carries(app: Flask, browser: Visitor) -> None:
    from webapp.mail.service import _private_values

    browser.post("/reset", {"email": "maya@example.com"})
    with app.app_context():
        mail = db.session.query(Mail).one()
        shown, sent = compose(mail), compose(mail, _private_values(mail))
    assert "/reset/" not in mail.context + shown.text + shown.html
    found = re.search(r"http://127.0.0.1:5000(/reset/\S+)", sent.text)
    assert found
    assert browser.get(found[1]).status_code == 200


def test_a_link_sets_the_password_once_and_ends_all_sessions(app: Flask, browser: Visitor) -> None:
    browser.sign_in()
    path = link(app)
    stranger = Visitor(app)
    assert stranger.post(path, {"password": NEW}, page=path).location == "/login"
    assert not browser.is_signed_in()
    assert Visitor(app).sign_in(password=NEW).status_code == 303
    assert stranger.get(path).status_code == 404
    assert stranger.post(path, {"password": "twelve green clocks"}).status_code == 404
    assert Visitor(app).sign_in(password=NEW).status_code == 303
    audited = [row.action for row in all_rows(app, AuditEntry) if row.action != "account.sign_in"]
    assert audited == ["account.reset_password"]


def test_a_refused_new_password_leaves_the_link_valid(app: Flask, browser: Visitor) -> None:
    path = link(app)
    answer = browser.post(path, {"password": "short"}, page=path)
    assert answer.status_code == 422
    assert "at least 12 characters" in answer.text
    assert browser.get(path).status_code == 200


def test_a_link_is_dead_after_an_hour(app: Flask, browser: Visitor) -> None:
    with time_machine.travel(datetime.now(UTC) - timedelta(hours=1, seconds=5), tick=False):
        path = link(app)
    assert browser.get(path).status_code == 404


@pytest.mark.parametrize("token", ["x", "WzEsImEiXQ.x.y", "a.b.c", "%00", "\u00e9"])
def test_an_invented_link_is_refused(browser: Visitor, token: str) -> None:
    answer = browser.get(f"/reset/{token}")
    assert answer.status_code == 404
    assert "no longer valid" in answer.text
    # Another one is a step away.
    assert 'action="/reset"' in answer.text


def test_link_does_nothing_for_a_disabled_person(app: Flask, browser: Visitor) -> None:
    path = link(app)
    with app.app_context():
        db.session.query(User).update({"active": False})
        db.session.commit()
    assert browser.get(path).status_code == 404


def test_host_header_does_not_reach_the_link(app: Flask) -> None:
    add_user(app)
    with app.test_request_context("/", headers={"Host": "evil.example"}):
        user = db.session.query(User).one()
        assert recovery.reset_url(user, app.extensions["settings"]).startswith("http://127.0.0.1:5000/reset/")


def test_failed_and_known_browser_after_reset(app: Flask, browser: Visitor) -> None:
    for number in range(11):
        Visitor(app, address=f"198.51.100.{number}").sign_in(password="wrong password here")
    assert browser.sign_in().status_code == 429
    path = link(app)
    browser.post(path, {"password": NEW}, page=path)
    assert browser.sign_in(password=NEW).status_code == 303
