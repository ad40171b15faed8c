"""Programs that act as a person by a bearer token: where it is accepted, what it permits, and when it expires."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from typing import Any

import pytest
import redis as redis_client
import sqlalchemy as sa
from flask import Flask
from werkzeug.test import TestResponse

from tests.accounts.test_routes import address, routes
from tests.visitors import Visitor, add_user, all_rows
from webapp.database.engine import now
from webapp.extensions import db
from webapp.identity import limits
from webapp.identity.models import ApiToken, AuditEntry, User
from webapp.identity.roles import roles_named
from webapp.run_store.models import Run

pytestmark = pytest.mark.each_database

EMAIL = "ada@example.com"
NUMBERS = {"num1": 2, "num2": 3}


def command(app: Flask, *arguments: str) -> tuple[int, str]:
    result = app.test_cli_runner().invoke(args=["users", "token", *arguments])
    return result.exit_code, result.output


def make_token(app: Flask, email: str = EMAIL, label: str = "a script") -> str:
    code, said = command(app, email, "--label", label, "--json")
    assert code == 0, said
    return str(json.loads(said)["token"])


def ask(app: Flask, method: str, path: str, token: str, **more: Any) -> TestResponse:
    client, cookie = app.test_client(), more.pop("cookie", "")
    if cookie:
        client.set_cookie("beatdesk", cookie)
    headers = {"Authorization": f"Bearer {token}", "Accept": more.pop("accept", "*/*")}
    return client.open(path, method=method, headers=headers, **more)


def change(app: Flask, **values: Any) -> None:
    with app.app_context():
        user = db.session.scalars(sa.select(User).where(User.email == EMAIL)).one()
        for name, value in values.items():
            setattr(user, name, list(roles_named(value)) if name == "roles" else value)
        db.session.commit()
        db.session.remove()


def test_program_launches_and_reads_the_result_without_any_cookie(app: Flask) -> None:
    number = add_user(app, EMAIL, "operator")
    token = make_token(app)
    for more in ({"json": NUMBERS}, {"data": NUMBERS}):
        launched = ask(app, "POST", "/add-numbers/", token, **more)
        assert (launched.status_code, list(launched.get_json())) == (202, ["task_id"])
    polled = ask(app, "GET", f"/task-result/{launched.get_json()['task_id']}/", token)
    assert (polled.status_code, polled.get_json()["status"]) == (200, "pending")
    page = ask(app, "GET", f"/task-result/{launched.get_json()['task_id']}/", token, accept="text/html")
    assert "csrf_token" in page.text
    for answer in (launched, polled, page):
        assert "Set-Cookie" not in answer.headers
    with app.app_context():
        assert set(db.session.scalars(sa.select(Run.created_by))) == {number}
        row = db.session.scalars(sa.select(ApiToken)).one()
        # Only what proves it is kept, and the audit has no more.
        assert (row.digest, row.label) == (hashlib.sha256(token.encode()).hexdigest(), "a script")
        assert row.last_used_at is not None
        assert now() - row.last_used_at < timedelta(minutes=1)
        assert len(token.removeprefix("beatdesk_")) == 43
        audit = db.session.scalars(sa.select(AuditEntry).where(AuditEntry.action == "token.create")).one()
        assert json.loads(audit.after or "") == {"of": EMAIL, "label": "a script"}
        db.session.remove()


def test_token_is_its_person_and_never_the_cookie_beside_it(app: Flask) -> None:
    add_user(app, EMAIL, "viewer")
    add_user(app, "root@example.com", "admin")
    admin = Visitor(app)
    admin.sign_in("root@example.com")
    token = make_token(app)
    for cookie in ("", admin.cookie()):
        refused = ask(app, "POST", "/add-numbers/", token, json=NUMBERS, cookie=cookie)
        assert (refused.status_code, refused.mimetype) == (403, "application/json")
        assert ask(app, "POST", "/add-numbers/", "wrong", json=NUMBERS, cookie=cookie).status_code == 401
    assert admin.is_signed_in()
    # Roles count as they are now; who is disabled has no tokens.
    change(app, roles=["operator"])
    assert ask(app, "POST", "/add-numbers/", token, json=NUMBERS).status_code == 202
    change(app, active=False)
    assert ask(app, "POST", "/add-numbers/", token, json=NUMBERS).status_code == 401
    assert command(app, EMAIL)[0] == 1


def test_token_counts_at_no_other_route(app: Flask) -> None:
    add_user(app, EMAIL, "admin")
    token = make_token(app)
    taking = set()
    for method, rule in routes(app, ("GET", "POST", "PUT", "PATCH", "DELETE")):
        if getattr(app.view_functions[rule.endpoint], "takes_tokens", False):
            taking.add(rule.endpoint)
        elif method == "GET":
            answer = ask(app, method, address(rule), token)
            anonymous = app.test_client().get(address(rule))
            if rule.endpoint != "metrics.show":
                assert answer.status_code == anonymous.status_code, rule
        else:
            # Not even the form's token is spared.
            answer = ask(app, method, address(rule), token, json={})
            assert answer.status_code == 400 or rule.endpoint in ("mail.unsubscribe_now", "people.register"), rule
    assert taking == {"add_numbers.add", "add_numbers.result"}


def test_tokens_are_listed_and_revoked(app: Flask) -> None:
    add_user(app, EMAIL, "operator")
    first, second = make_token(app), make_token(app, label="another")
    assert first != second
    rows = json.loads(command(app, EMAIL, "--list", "--json")[1])
    assert [row["label"] for row in rows] == ["a script", "another"]
    code, said = command(app, EMAIL, "--list")
    assert (code, first in said, "never used" in said) == (0, False, True)
    assert command(app, EMAIL, "--revoke", str(rows[0]["id"]))[0] == 0
    assert ask(app, "POST", "/add-numbers/", first, json=NUMBERS).status_code == 401
    assert ask(app, "POST", "/add-numbers/", second, json=NUMBERS).status_code == 202
    assert [row["label"] for row in json.loads(command(app, EMAIL, "--list", "--json")[1])] == ["another"]
    assert "token.revoke" in [row.action for row in all_rows(app, AuditEntry)]
    for wrong in ((EMAIL, "--revoke", "999"), ("nobody@example.com",), (EMAIL, "--label", "x" * 121)):
        assert command(app, *wrong)[0] == 1, wrong


def test_wrong_tokens_are_refused_counted_and_noted_once(app: Flask, redis: redis_client.Redis) -> None:
    add_user(app, EMAIL, "operator")
    right = make_token(app)
    for _ in range(3):
        # What is right is not counted.
        assert ask(app, "POST", "/add-numbers/", right, json=NUMBERS).status_code == 202
    wrong = ["", "x", right[:-1], f"{right}x", "\xe9\xff", "beatdesk_"]
    for token in wrong:
        answer = ask(app, "POST", "/add-numbers/", token, json=NUMBERS)
        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer"), token
        assert answer.get_json()["error"]
    for _ in range(limits.TOKEN_FAILURES.amount - len(wrong)):
        assert ask(app, "GET", "/task-result/x/", "x").status_code == 401
    refused = ask(app, "GET", "/task-result/x/", "x")
    assert refused.status_code == 429
    assert 200 <= int(refused.headers["Retry-After"]) <= 300
    # Counted before it is looked up, so that the answer does not reveal which one is right.
    assert ask(app, "POST", "/add-numbers/", right, json=NUMBERS).status_code == 429
    noted = [row for row in all_rows(app, AuditEntry) if row.action == "token.wrong"]
    assert [(row.actor, row.address, json.loads(row.after)) for row in noted] == [
        ("unknown", "127.0.0.1", {"times": times}) for times in (1, 10, 100)
    ]
