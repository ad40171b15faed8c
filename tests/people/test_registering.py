from __future__ import annotations

from datetime import UTC, datetime

import pytest
import time_machine
from flask import Flask

from tests.visitors import PASSWORD, Visitor, add_user, all_rows
from webapp.identity.models import User

FIELDS = {
    "name": "Maya Gurung",
    "email": "Maya@Example.com",
    "password": PASSWORD,
    "birthday": "1990-02-28",
    "timezone": "Asia/Kathmandu",
}


def test_a_program_gets_token_and_fields(app: Flask) -> None:
    browser = Visitor(app)
    form = browser.get("/register", headers={"Accept": "application/json"}).json
    assert form is not None
    assert form["fields"] == ["name", "email", "password", "birthday", "timezone"]
    answer = browser.client.post("/register", json=FIELDS, headers={"X-CSRFToken": form["csrf_token"]})
    assert answer.status_code == 201


WRONG = [
    ("name", "", "Enter a name"),
    ("name", "   ", "Enter a name"),
    ("name", "x" * 121, "at most 120"),
    ("name", "a\nb", "control characters"),
    ("name", "a\u202eb", "control characters"),
    ("name", "a\x00b", "control characters"),
    ("email", "", "Enter an email address"),
    ("email", "nobody", "not an email address"),
    ("email", "a@b", "full domain"),
    ("email", "a b@example.com", "not an email address"),
    ("email", "a@example.com\r\nBcc: x@example.com", "not an email address"),
    ("email", "x" * 300 + "@example.com", "not an email address"),
    ("password", "", "Choose a password"),
    ("password", "short", "at least 12"),
    ("password", "password1234", "guessed"),
    ("password", "MayaGurung2026", "guessed"),
    ("birthday", "", "Enter your birthday"),
    ("birthday", "28.02.1990", "year-month-day"),
    ("birthday", "19900228", "year-month-day"),
    ("birthday", "2023-02-29", "year-month-day"),
    ("birthday", "1990-W01-1", "year-month-day"),
    ("birthday", "١٩٩٠-٠٢-٢٨", "year-month-day"),
    ("birthday", "2999-01-01", "future"),
    ("birthday", "1899-12-31", "before 1900"),
    ("timezone", "", "Choose a time zone"),
    ("timezone", "Mars/Olympus", "Choose a time zone"),
    ("timezone", "../../etc/passwd", "Choose a time zone"),
    ("timezone", "localtime", "Choose a time zone"),
]


@pytest.mark.parametrize(("field", "value", "said"), WRONG)
def test_an_error_stands_at_its_field_and_the_rest_is_kept(app: Flask, field: str, value: str, said: str) -> None:
    browser = Visitor(app)
    answer = browser.post("/register", {**FIELDS, field: value}, page="/register")
    assert answer.status_code == 422
    at_field = answer.text.split(f'id="{field}-error">')
    assert len(at_field) == 2, "the error stands elsewhere"
    assert said in at_field[1].split("</div>")[0]
    assert answer.text.count("field-error") == 1
    for other, kept in FIELDS.items():
        if other not in (field, "password"):
            assert f'value="{kept}"' in answer.text
    assert PASSWORD not in answer.text
    assert all_rows(app, User) == []
    refused = browser.post_json("/register", {**FIELDS, field: value}, page="/register")
    assert refused.json is not None
    assert (refused.status_code, list(refused.json["fields"])) == (422, [field])


@pytest.mark.parametrize("value", [None, 5, True, ["x"], {"a": 1}, "\ud800"])
@pytest.mark.parametrize("field", list(FIELDS))
def test_json_of_other_kinds_is_an_error_at_the_field(app: Flask, field: str, value: object) -> None:
    if (field, value) == ("name", "\ud800"):
        return
    answer = Visitor(app).post_json("/register", {**FIELDS, field: value}, page="/register")
    assert answer.json is not None
    assert (answer.status_code, list(answer.json["fields"])) == (422, [field])


def test_all_errors_of_a_registration_are_reported_together(app: Flask) -> None:
    answer = Visitor(app).post("/register", dict.fromkeys(FIELDS, ""), page="/register")
    assert answer.text.count("field-error") == 5


@pytest.mark.parametrize(
    ("zone", "birthday", "status"),
    [
        # 11:00 UTC on 22 November: the 23rd has begun in Kiritimati (UTC+14), the 22nd not yet ended in Pago Pago.
        ("Pacific/Kiritimati", "2026-11-23", 303),
        ("Pacific/Kiritimati", "2026-11-24", 422),
        ("Pacific/Auckland", "2026-11-23", 303),
        ("Pacific/Pago_Pago", "2026-11-22", 303),
        ("Pacific/Pago_Pago", "2026-11-23", 422),
        ("Etc/GMT+12", "2026-11-22", 422),
        ("UTC", "2026-11-22", 303),
        ("UTC", "2026-11-23", 422),
        ("nowhere", "2026-11-23", 422),
    ],
)
def test_today_is_where_the_person_lives(app: Flask, zone: str, birthday: str, status: int) -> None:
    with time_machine.travel(datetime(2026, 11, 22, 11, 30, tzinfo=UTC), tick=False):
        answer = Visitor(app).post("/register", {**FIELDS, "timezone": zone, "birthday": birthday}, page="/register")
    assert answer.status_code == status
    if zone == "nowhere":
        assert "future" not in answer.text


def test_what_was_typed_is_text_and_never_markup(app: Flask) -> None:
    sly = '"><script>alert(1)</script>'
    answer = Visitor(app).post("/register", {**FIELDS, "name": sly, "timezone": sly}, page="/register")
    assert answer.status_code == 422
    assert "<script>alert" not in answer.text
    assert "&lt;script&gt;" in answer.text


def test_signed_in_person_can_register_another_person(app: Flask) -> None:
    add_user(app, "ada@example.com", "admin")
    browser = Visitor(app)
    browser.sign_in("ada@example.com")
    assert browser.post("/register", FIELDS, page="/register").status_code == 303
    assert len(all_rows(app, User)) == 2
