"""Every route, requested by every role and by a visitor: who has access, and that changes need a form token."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser

import pytest
import sqlalchemy as sa
from flask import Flask
from werkzeug.routing import Rule

from tests.visitors import Visitor, add_user, all_rows
from tests.web.test_access import ALLOWED
from webapp.database.engine import Base
from webapp.extensions import db, limiter
from webapp.identity.models import AuditEntry
from webapp.identity.refusals import MAX_OF_ONE
from webapp.mail.views import MESSAGE_POLICY
from webapp.mail_store.models import Mail
from webapp.web.access import ROLES
from webapp.web.headers import CONTENT_SECURITY_POLICY

UNSAFE = ("POST", "PUT", "PATCH", "DELETE")
ROLES_AND_VISITOR = ["visitor", *ROLES]
# Open to the recipient of an email through its signed link, without a session; RFC 8058.
WITHOUT_TOKEN = {"mail.unsubscribe_now"}


@pytest.fixture
def people(app: Flask) -> Iterator[dict[str, Visitor]]:
    """A browser for each role, signed in, and one that is not signed in."""
    limiter.enabled = False
    browsers = {"visitor": Visitor(app)}
    for role in ROLES:
        add_user(app, f"{role}@example.com", role, name=f"The {role}")
        browsers[role] = Visitor(app)
        assert browsers[role].sign_in(f"{role}@example.com").status_code == 303
    with app.app_context():
        db.session.add(Mail(key="welcome:0", kind="welcome", recipient="x@example.com", state="in doubt"))
        db.session.commit()
    yield browsers
    limiter.enabled = True


def address(rule: Rule) -> str:
    """An address that a route answers to; what it names may not exist."""

    def value(found: re.Match[str]) -> str:
        if found[1] == "any":
            return found[2].strip("()").partition(",")[0]
        return "1" if found[1] in ("int", "float") else "x"

    return re.sub(r"<(?:(\w+)([^:>]*):)?\w+>", value, rule.rule)


def routes(app: Flask, methods: tuple[str, ...]) -> list[tuple[str, Rule]]:
    return [
        (method, rule)
        for rule in app.url_map.iter_rules()
        for method in sorted((rule.methods or set()) & set(methods))
        if rule.endpoint != "static"
    ]


def fingerprint(app: Flask) -> dict[str, int]:
    """The number of rows by table."""
    with app.app_context():
        counts = {
            table.name: db.session.scalar(sa.select(sa.func.count()).select_from(table)) or 0
            for table in Base.metadata.sorted_tables
        }
        db.session.remove()
    return counts


def test_every_route_admits_exactly_the_roles_of_the_table(app: Flask, people: dict[str, Visitor]) -> None:
    checked = 0
    for role, browser in people.items():
        for _, rule in routes(app, ("GET",)):
            answer = browser.get(address(rule), headers={"Accept": "text/html"})
            where = f"{role} at {rule.rule}: {answer.status}"
            if rule.endpoint in ALLOWED[role]:
                assert answer.status_code < 400 or answer.status_code in (404, 406, 422, 503), where
                assert "/login?next=" not in (answer.location or ""), where
            elif role == "visitor":
                assert (answer.status_code, (answer.location or "")[:12]) == (303, "/login?next="), where
            else:
                assert answer.status_code == 403, where
            checked += 1
    assert checked >= len(ROLES_AND_VISITOR) * 10


def test_every_unsafe_route_refuses_whom_the_table_does_not_name(app: Flask, people: dict[str, Visitor]) -> None:
    before = fingerprint(app)
    for role, browser in people.items():
        token = browser.form_token("/login" if role == "visitor" else "/account")
        for method, rule in routes(app, UNSAFE):
            if rule.endpoint in ALLOWED[role]:
                continue
            for headers, refused in (({}, 303), ({"Accept": "application/json"}, 401)):
                answer = browser.client.open(address(rule), method=method, data={"csrf_token": token}, headers=headers)
                expected = refused if role == "visitor" else 403
                assert answer.status_code == expected, f"{role}: {method} {rule.rule}: {answer.status}"
    noted = [row for row in all_rows(app, AuditEntry) if row.action == "access.refuse"]
    # Each that is signed in leaves its trace, and cannot fill the table.
    assert all(row.actor_id for row in noted)
    assert len({row.actor_id for row in noted}) == len(people) - 2
    assert len(noted) <= MAX_OF_ONE * (len(people) - 1)
    after = fingerprint(app)
    assert {**after, "audit": after["audit"] - len(noted)} == before


@pytest.mark.parametrize("kind", ["none", "empty", "invented", "of another person", "of this session, altered"])
def test_every_unsafe_route_refuses_a_missing_or_foreign_token(
    app: Flask, people: dict[str, Visitor], kind: str
) -> None:
    admin = people["admin"]
    own = admin.form_token("/account")
    token = {
        "none": None,
        "empty": "",
        "invented": "ImFiYyI.aaaaaa.bbbbbbbbbbbbbbbbbbbbbbbbbbb",
        "of another person": people["viewer"].form_token("/account"),
        "of this session, altered": own[:-4] + ("AAAA" if own[-4:] != "AAAA" else "BBBB"),
    }[kind]
    before = fingerprint(app)
    tried = 0
    for method, rule in routes(app, UNSAFE):
        if rule.endpoint in WITHOUT_TOKEN:
            continue
        for where in ("form", "header"):
            fields = {} if token is None or where == "header" else {"csrf_token": token}
            headers = {"X-CSRFToken": token} if token is not None and where == "header" else {}
            answer = admin.client.open(address(rule), method=method, data=fields, headers=headers)
            assert answer.status_code == 400, f"{method} {rule.rule}: {answer.status}"
            assert "reload the page" in answer.text
            tried += 1
    assert tried >= 16
    assert fingerprint(app) == before
    assert admin.is_signed_in()


class Inline(HTMLParser):
    """Collects what the content security policy forbids."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = {name for name, _ in attrs}
        if tag == "style" or (tag == "script" and "src" not in names):
            self.found.append(f"<{tag}>")
        for name, value in attrs:
            if name == "style" or name.startswith(("on", "hx-on")):
                self.found.append(f"{tag} {name}")
            if (value or "").strip().lower().startswith(("javascript:", "js:")):
                self.found.append(f"{tag} {name}={value}")


def test_every_page_carries_the_policy_and_nothing_inline(app: Flask, people: dict[str, Visitor]) -> None:
    pages = 0
    for role in ("visitor", "member", "admin"):
        for _, rule in routes(app, ("GET",)):
            answer = people[role].get(address(rule))
            policy = answer.headers["Content-Security-Policy"]
            # A mail as its reader sees it stands in a frame that may load and run nothing at all.
            assert policy in (CONTENT_SECURITY_POLICY, MESSAGE_POLICY), rule
            assert answer.headers["X-Content-Type-Options"] == "nosniff", rule
            if answer.mimetype == "text/html" and policy == CONTENT_SECURITY_POLICY:
                seen = Inline()
                seen.feed(answer.text)
                assert seen.found == [], f"{role} at {rule.rule}"
                pages += 1
    assert pages >= 20


@pytest.mark.parametrize("path", ["/nothing/here", "/static/none.css", "/logout", "/people/x"])
def test_errors_carry_the_policy_too(app: Flask, path: str) -> None:
    answer = Visitor(app).get(path)
    assert answer.status_code >= 300
    assert "default-src 'self'" in answer.headers["Content-Security-Policy"]


def test_reading_changes_nothing(app: Flask, people: dict[str, Visitor]) -> None:
    before = fingerprint(app)
    for _, rule in routes(app, ("GET",)):
        people["admin"].get(address(rule))
    assert fingerprint(app) == before


def test_a_fragment_leads_the_whole_page_to_signing_in(app: Flask) -> None:
    headers = {"HX-Request": "true", "HX-Current-URL": "http://localhost/people?role=admin"}
    answer = Visitor(app).get("/people", headers=headers)
    assert (answer.status_code, answer.headers["HX-Redirect"]) == (204, "/login?next=/people?role%3Dadmin")


def test_cookies_are_out_of_reach_of_scripts_and_other_sites(app: Flask) -> None:
    add_user(app)
    answer = Visitor(app).sign_in()
    cookies = answer.headers.getlist("Set-Cookie")
    assert len(cookies) == 2
    assert all("HttpOnly" in cookie and "SameSite=Lax" in cookie for cookie in cookies)


def test_where_tls_is_cookies_are_bound_to_the_host(app: Flask) -> None:
    from webapp import create_app

    add_user(app)
    settings = app.extensions["settings"].with_changes(public_url="https://beatdesk.example")
    client = create_app(settings).test_client()
    page = client.get("/login", base_url="https://beatdesk.example").text
    token = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert token
    fields = {"email": "maya@example.com", "password": "seven quiet umbrellas", "csrf_token": token[1]}
    answer = client.post(
        "/login",
        data=fields,
        base_url="https://beatdesk.example",
        headers={"Referer": "https://beatdesk.example/login"},
    )
    cookies = answer.headers.getlist("Set-Cookie")
    assert answer.status_code == 303
    assert sorted(cookie.split("=")[0] for cookie in cookies) == ["__Host-beatdesk", "__Host-beatdesk-device"]
    assert all("Secure" in cookie and "Path=/" in cookie and "Domain" not in cookie for cookie in cookies)
