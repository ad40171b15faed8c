from __future__ import annotations

import json
from datetime import date

import pytest
from flask import Flask

from tests.visitors import Visitor, add_user, all_rows
from webapp.identity.models import AuditEntry, SignIn, User

pytestmark = pytest.mark.each_database

PROFILE = {"name": "Maya G.", "birthday": "1990-02-28", "timezone": "asia/kathmandu", "wants_birthday_mail": "1"}


@pytest.fixture
def browser(app: Flask) -> Visitor:
    add_user(app)
    made = Visitor(app)
    made.sign_in()
    return made


def test_saving_writes_the_row_and_one_audit_entry(app: Flask, browser: Visitor) -> None:
    assert browser.post("/account", PROFILE, page="/account").location == "/account"
    user = all_rows(app, User)[0]
    assert (user.name, user.birthday, user.birthday_key) == ("Maya G.", date(1990, 2, 28), 228)
    assert (user.timezone, user.wants_birthday_mail) == ("Asia/Kathmandu", True)
    entries = [row for row in all_rows(app, AuditEntry) if row.action == "account.update"]
    assert [json.loads(row.before) for row in entries] == [{"name": "Maya Gurung", "birthday": None, "timezone": "UTC"}]
    assert json.loads(entries[0].after)["timezone"] == "Asia/Kathmandu"


def test_saving_what_is_there_already_is_not_audited(app: Flask, browser: Visitor) -> None:
    browser.post("/account", PROFILE, page="/account")
    browser.post("/account", PROFILE, page="/account")
    assert [row.action for row in all_rows(app, AuditEntry)].count("account.update") == 1


def test_an_empty_box_declines_birthday_mails(app: Flask, browser: Visitor) -> None:
    browser.post("/account", {**PROFILE, "wants_birthday_mail": ""}, page="/account")
    assert all_rows(app, User)[0].wants_birthday_mail is False


def test_errors_stand_at_their_fields_and_the_rest_is_kept(app: Flask, browser: Visitor) -> None:
    answer = browser.post("/account", {**PROFILE, "timezone": "Mars/Olympus"}, page="/account")
    assert answer.status_code == 422
    assert "Choose a time zone" in answer.text
    for kept in ("Maya G.", "1990-02-28", "Mars/Olympus"):
        assert f'value="{kept}"' in answer.text
    assert all_rows(app, User)[0].name == "Maya Gurung"


def test_account_page_changes_neither_roles_nor_address(app: Flask, browser: Visitor) -> None:
    more = {"roles": "admin", "active": "0", "email": "x@example.com", "id": "9"}
    browser.post("/account", {**PROFILE, **more}, page="/account")
    user = all_rows(app, User)[0]
    assert ([role.name for role in user.roles], user.email, user.active) == (["member"], "maya@example.com", True)


def test_it_lists_own_sign_ins_and_ends_the_others(app: Flask, browser: Visitor) -> None:
    other = Visitor(app, address="198.51.100.4")
    other.sign_in()
    page = browser.get("/account").text
    assert "198.51.100.4" in page
    assert "this browser" in page
    assert browser.post("/account/sign-ins/end", page="/account").location == "/account"
    assert browser.is_signed_in()
    assert not other.is_signed_in()
    assert [row.ended_at is None for row in all_rows(app, SignIn)].count(True) == 1
    assert [row.action for row in all_rows(app, AuditEntry)].count("account.sign_out_elsewhere") == 1


def test_it_speaks_json(browser: Visitor) -> None:
    shown = browser.get("/account", headers={"Accept": "application/json"}).json
    assert shown is not None
    assert (shown["email"], shown["roles"]) == ("maya@example.com", ["member"])
    saved = browser.post_json("/account", {**PROFILE, "wants_birthday_mail": False}, page="/account")
    assert saved.json is not None
    assert saved.json["wants_birthday_mail"] is False
    refused = browser.post_json("/account", {**PROFILE, "name": 5}, page="/account")
    assert refused.json is not None
    assert (refused.status_code, list(refused.json["fields"])) == (422, ["name"])
