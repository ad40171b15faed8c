from __future__ import annotations

import json

import pytest
from flask import Flask
from flask.testing import FlaskCliRunner

from tests.visitors import PASSWORD, Visitor, add_user, all_rows
from webapp import create_app
from webapp.config import Settings
from webapp.identity.models import AuditEntry, User


def made(settings: Settings, **changes: str) -> Flask:
    return create_app(settings.with_changes(**changes))


def run(app: Flask, *arguments: str) -> tuple[int, str]:
    result = app.test_cli_runner().invoke(args=["users", *arguments])
    return result.exit_code, result.output


def test_ensure_admin_makes_the_admin_that_is_set(settings: Settings) -> None:
    app = made(settings, admin_email="Boss@Example.com", admin_password=PASSWORD)
    code, said = run(app, "ensure-admin", "--json")
    assert (code, json.loads(said)) == (0, {"created": True, "email": "boss@example.com"})
    browser = Visitor(app)
    assert browser.sign_in("boss@example.com").status_code == 303
    assert browser.get("/people").status_code == 200


def test_ensure_admin_twice_changes_nothing(settings: Settings) -> None:
    app = made(settings, admin_email="boss@example.com", admin_password=PASSWORD)
    run(app, "ensure-admin")
    later = made(settings, admin_email="boss@example.com", admin_password="eleven silent bicycles")
    code, said = run(later, "ensure-admin", "--json")
    assert (code, json.loads(said)) == (0, {"created": False, "email": "boss@example.com"})
    assert Visitor(later).sign_in("boss@example.com").status_code == 303
    assert [row.action for row in all_rows(later, AuditEntry)] == ["person.create", "account.sign_in"]
    assert all_rows(later, AuditEntry)[0].actor == "system"


def test_a_weak_password_is_refused_unless_it_stands_already(settings: Settings) -> None:
    weak = made(settings, admin_email="boss@example.com", admin_password="P@ssw0rd1234")
    code, said = run(weak, "ensure-admin")
    assert (code, said.count("\n")) == (1, 1)
    assert "ADMIN_PASSWORD" in said
    assert all_rows(weak, User) == []
    add_user(weak, "boss@example.com", "admin")
    assert run(weak, "ensure-admin") == (0, "The admin boss@example.com exists already.\n")


def test_ensure_admin_prints_a_random_password_once(app: Flask) -> None:
    code, said = run(app, "ensure-admin", "--json")
    printed = json.loads(said)
    assert (code, printed["created"]) == (0, True)
    assert Visitor(app).sign_in(printed["email"], printed["password"]).status_code == 303
    assert json.loads(run(app, "ensure-admin", "--json")[1]) == {"created": False, "email": printed["email"]}


def test_ensure_admin_adds_no_second_admin(settings: Settings) -> None:
    app = made(settings, admin_email="maya@example.com")
    add_user(app)
    code, said = run(app, "ensure-admin")
    assert code == 1
    assert "registered, but not as an active admin" in said
    assert len(said.strip().splitlines()) == 1


@pytest.mark.parametrize(("email", "password"), [("nobody", PASSWORD), ("a@example.com", "short")])
def test_ensure_admin_names_the_invalid_setting(settings: Settings, email: str, password: str) -> None:
    code, said = run(made(settings, admin_email=email, admin_password=password), "ensure-admin")
    assert code == 1
    assert "ADMIN_" in said
    assert len(said.strip().splitlines()) == 1


def test_create_and_list(app: Flask, runner: FlaskCliRunner) -> None:
    code, said = run(app, "create", "--email", "V@example.com", "--name", "Viktor", "--role", "viewer", "--json")
    printed = json.loads(said)
    assert (code, printed["email"], printed["role"]) == (0, "v@example.com", "viewer")
    assert Visitor(app).sign_in("v@example.com", printed["password"]).status_code == 303
    listed = json.loads(run(app, "list", "--json")[1])
    assert [(row["email"], row["roles"]) for row in listed] == [("v@example.com", ["viewer"])]
    assert "Viktor" in run(app, "list", "--role", "viewer")[1]
    assert run(app, "list", "--role", "admin")[1] == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--email", "maya@example.com", "--name", "M"], "already registered"),
        (["--email", "x", "--name", "M"], "not an email address"),
        (["--email", "x@example.com", "--name", "M", "--password", "short"], "at least 12"),
        (["--email", "x@example.com", "--name", "M", "--timezone", "Mars"], "time zone"),
        (["--email", "x@example.com", "--name", "M", "--birthday", "2999-01-01"], "future"),
    ],
)
def test_create_refuses_what_the_form_refuses(app: Flask, arguments: list[str], said: str) -> None:
    add_user(app)
    code, output = run(app, "create", *arguments)
    assert code == 1
    assert said in output
    assert len(all_rows(app, User)) == 1
