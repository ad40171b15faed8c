"""`POST /register` as JSON from a program: the one request that needs neither session nor token of a form."""

from __future__ import annotations

from flask import Flask

from tests.accounts.test_routes import UNSAFE, WITHOUT_TOKEN, address, fingerprint, routes
from tests.people.test_registering import FIELDS
from tests.visitors import Visitor, add_user, all_rows
from webapp import create_app
from webapp.config import Settings
from webapp.extensions import limiter
from webapp.identity.models import User

WITHOUT_ZONE = {name: value for name, value in FIELDS.items() if name != "timezone"}


def test_program_registers_with_one_request(app: Flask) -> None:
    answer = app.test_client().post("/register", json=WITHOUT_ZONE)
    assert (answer.status_code, answer.get_json()) == (201, {"status": "registered"})
    assert "Set-Cookie" not in answer.headers
    [user] = all_rows(app, User)
    assert (user.email, user.timezone) == ("maya@example.com", app.extensions["settings"].timezone)
    refused = app.test_client().post("/register", json={**WITHOUT_ZONE, "timezone": "", "name": ""})
    assert (refused.status_code, sorted(refused.get_json()["fields"])) == (422, ["name", "timezone"])


SENT = (
    ({"Origin": "http://localhost"}, 201),
    ({"Origin": "http://localhost:80"}, 201),
    ({"Origin": "https://beat.example.com"}, 201),
    ({"Origin": "https://beat.example.com:443", "Sec-Fetch-Site": "same-origin"}, 201),
    ({"Content-Type": "application/json; charset=utf-8"}, 201),
    ({"Origin": "null"}, 400),
    ({"Origin": ""}, 400),
    ({"Origin": "http://beat.example.com"}, 400),
    ({"Origin": "https://localhost"}, 400),
    ({"Origin": "http://localhost:8080"}, 400),
    ({"Origin": "http://localhost.evil.example"}, 400),
    ({"Origin": "http://evil.example"}, 400),
    ({"Origin": "http://[::1"}, 400),
    ({"Sec-Fetch-Site": "cross-site"}, 400),
    ({"Sec-Fetch-Site": "same-site"}, 400),
    ({"Cookie": "old"}, 400),
    ({"Content-Type": "text/plain"}, 400),
    ({"Content-Type": "application/x-www-form-urlencoded"}, 400),
    ({"Content-Type": "application/vnd.api+json"}, 400),
    ({"Content-Type": ""}, 400),
)


def test_only_what_no_other_site_can_have_sent_passes(settings: Settings) -> None:
    app = create_app(settings.with_changes(public_url="https://beat.example.com"))
    for number, (headers, status) in enumerate(SENT):
        client, sent = app.test_client(), dict(headers)
        if "Cookie" in sent:
            client.set_cookie(app.config["SESSION_COOKIE_NAME"], sent.pop("Cookie"))
        fields = {**FIELDS, "email": f"maya{number}@example.com"}
        answer = client.post("/register", json=fields, headers=sent, base_url="http://localhost")
        assert answer.status_code == status, headers
    assert len(all_rows(app, User)) == [status for _, status in SENT].count(201)


def test_who_has_a_session_needs_the_token(app: Flask) -> None:
    add_user(app, "ada@example.com", "admin")
    browser = Visitor(app)
    browser.sign_in("ada@example.com")
    assert browser.client.post("/register", json=FIELDS).status_code == 400
    assert browser.post_json("/register", FIELDS, page="/account").status_code == 201


def test_it_is_the_only_exception(app: Flask) -> None:
    before = fingerprint(app)
    passed = set()
    limiter.enabled = False
    for method, rule in routes(app, UNSAFE):
        for kind, sent in (("json", {"json": {}}), ("form", {"data": {"x": "y"}})):
            answer = app.test_client().open(address(rule), method=method, **sent)
            if answer.status_code != 400 or "CSRF" not in answer.text:
                passed.add((rule.endpoint, kind))
    limiter.enabled = True
    unsubscribing = {(name, kind) for name in WITHOUT_TOKEN for kind in ("json", "form")}
    assert passed == {("people.register", "json"), *unsubscribing}
    assert fingerprint(app) == before
