from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy as sa
from flask import Flask

from tests.visitors import PASSWORD, Visitor, add_user, all_rows
from webapp.extensions import db
from webapp.identity.models import AuditEntry, SignIn, User


@contextmanager
def statements(app: Flask) -> Iterator[list[str]]:
    """The SQL that is executed within."""
    seen: list[str] = []
    with app.app_context():
        engine = db.engine

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        seen.append(statement)

    sa.event.listen(engine, "before_cursor_execute", note)
    yield seen
    sa.event.remove(engine, "before_cursor_execute", note)


@pytest.fixture
def browser(app: Flask) -> Visitor:
    add_user(app)
    return Visitor(app)


def test_right_password_signs_in_and_leads_to_the_front_page(browser: Visitor) -> None:
    answer = browser.sign_in()
    assert (answer.status_code, answer.location) == (303, "/")
    assert browser.is_signed_in()


def test_address_is_taken_in_any_spelling(browser: Visitor) -> None:
    assert browser.sign_in(email="  Maya@Example.COM ").status_code == 303


def test_json_signs_in_with_the_token_that_json_got(browser: Visitor) -> None:
    token = browser.get("/login", headers={"Accept": "application/json"}).json["csrf_token"]  # type: ignore[index]  # it is JSON, as was asked
    fields = {"email": "maya@example.com", "password": PASSWORD}
    answer = browser.client.post("/login", json=fields, headers={"X-CSRFToken": token})
    assert answer.json is not None
    assert (answer.status_code, answer.json["status"]) == (200, "signed in")
    assert browser.is_signed_in()


@pytest.mark.parametrize(
    ("email", "password"),
    [
        ("maya@example.com", "wrong password here"),
        ("nobody@example.com", PASSWORD),
        ("off@example.com", PASSWORD),
        ("not an address", PASSWORD),
        ("maya@example.com", ""),
        ("maya@example.com", "\ufdfa" * 2000),
    ],
)
def test_every_refusal_reads_alike(app: Flask, browser: Visitor, email: str, password: str) -> None:
    add_user(app, "off@example.com", active=False)
    answer = browser.sign_in(email, password)
    assert answer.status_code == 401
    assert "Incorrect email address or password." in answer.text
    assert f'value="{email}"' in answer.text
    assert password == "" or password not in answer.text
    assert not browser.is_signed_in()


@pytest.mark.parametrize("value", [None, 5, ["x"], {"a": 1}, True, "\ud800"])
def test_json_of_other_kinds_is_refused_without_an_error(browser: Visitor, value: object) -> None:
    answer = browser.post_json("/login", {"email": value, "password": value})
    assert answer.status_code == 401


def test_json_that_is_no_object_is_refused(browser: Visitor) -> None:
    headers = {"X-CSRFToken": browser.form_token()}
    assert browser.client.post("/login", json=[1], headers=headers).status_code == 422


def test_get_of_the_sign_out_address_changes_nothing(browser: Visitor) -> None:
    browser.sign_in()
    assert browser.get("/logout").status_code == 405
    assert browser.is_signed_in()


def test_signing_out_ends_the_session_on_the_server(app: Flask, browser: Visitor) -> None:
    browser.sign_in()
    thief = browser.steal(browser.cookie())
    assert thief.is_signed_in()
    assert browser.post("/logout", page="/account").status_code == 303
    assert not browser.is_signed_in()
    assert not thief.is_signed_in()
    assert all_rows(app, SignIn)[0].ended_at is not None


def test_signing_in_rotates_the_session_and_ends_the_one_before(app: Flask, browser: Visitor) -> None:
    browser.get("/login")
    before = browser.cookie()
    token = browser.form_token()
    browser.sign_in()
    first = browser.cookie()
    assert browser.form_token("/account") != token
    assert before not in (first, "")
    other = add_user(app, "other@example.com")
    browser.post("/login", {"email": "other@example.com", "password": PASSWORD}, page="/account")
    assert not browser.steal(first).is_signed_in()
    rows = all_rows(app, SignIn)
    assert [(row.user_id, row.ended_at is None) for row in rows if row.user_id == other] == [(other, True)]
    assert sum(row.ended_at is None for row in rows) == 1


def test_cookie_of_a_planted_session_is_not_signed_in_by_the_victim(browser: Visitor) -> None:
    browser.get("/login")
    thief = browser.steal(browser.cookie())
    browser.sign_in()
    assert not thief.is_signed_in()


def test_database_keeps_no_token_that_a_cookie_has(app: Flask, browser: Visitor) -> None:
    browser.sign_in()
    with browser.client.session_transaction() as session:
        token = session["sign_in"]
    assert all(token not in (row.id, row.agent) for row in all_rows(app, SignIn))


def test_signing_in_and_out_are_audited_once_each(app: Flask, browser: Visitor) -> None:
    browser.sign_in()
    browser.post("/logout", page="/account")
    entries = all_rows(app, AuditEntry)
    assert [(row.action, row.actor, row.address) for row in entries] == [
        ("account.sign_in", "Maya Gurung <maya@example.com>", "127.0.0.1"),
        ("account.sign_out", "Maya Gurung <maya@example.com>", "127.0.0.1"),
    ]
    assert all_rows(app, User)[0].last_login_at is not None


def test_a_disabled_row_is_out_at_the_next_request(app: Flask, browser: Visitor) -> None:
    browser.sign_in()
    with app.app_context():
        db.session.query(User).update({"active": False})
        db.session.commit()
    assert browser.get("/account").status_code == 303


def test_a_request_asks_the_database_once_for_person_and_session(app: Flask, browser: Visitor) -> None:
    browser.sign_in()
    with statements(app) as seen:
        browser.get("/reset")
    assert len([statement for statement in seen if statement.startswith("SELECT")]) == 1


@pytest.mark.parametrize("by", ["session", "token"])
def test_a_request_loads_its_person_once(app: Flask, by: str) -> None:
    add_user(app, "admin@example.com", "admin")
    admin = Visitor(app)
    admin.sign_in("admin@example.com")
    token = admin.form_token("/account")
    headers = {}
    if by == "token":
        result = app.test_cli_runner().invoke(args=["users", "token", "admin@example.com", "--json"])
        headers = {"Authorization": f"Bearer {json.loads(result.output)['token']}"}
    paths = {"session": ["/add-numbers/", "/runs/new", "/schedules/bulk/pause", "/account/sign-ins/end"]}
    for path in paths.get(by, ["/add-numbers/"]):
        # What is wrong in them is refused, and shown on a page that says who is signed in.
        for fields in ({"num1": "1", "num2": "2", "task": "add"}, {"num1": "one"}):
            with statements(app) as seen:
                admin.client.post(path, data={**fields, "csrf_token": token}, headers=headers)
            loads = [text for text in seen if text.startswith("SELECT") and ("users" in text or "roles" in text)]
            assert len(loads) == 1, (path, loads)


def test_production_keeps_argon2id(app: Flask) -> None:
    from webapp.accounts import passwords
    from webapp.accounts.setup import PRODUCTION_COST

    with app.app_context():
        assert passwords.hashed("seven quiet umbrellas").startswith("$argon2id$")
    assert PRODUCTION_COST["argon2__memory_cost"] >= 47104


def test_a_changed_secret_key_leaves_passwords_valid(app: Flask) -> None:
    from webapp import create_app

    add_user(app)
    settings = app.extensions["settings"]
    later = create_app(settings.with_changes(secret_key="another-secret-0123456789"))
    assert Visitor(later).sign_in().status_code == 303
