"""With a path in PUBLIC_URL everything is below it: links, forms, redirects, cookies, emails."""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterator
from datetime import UTC, date, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import pytest
from flask import Flask
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect
from werkzeug.test import TestResponse

from tests.accounts.test_routes import address, routes
from tests.launcher.test_sink import envelope
from tests.runs.making import make_run
from tests.visitors import PASSWORD, Visitor, add_user
from webapp import create_app
from webapp.config import Settings
from webapp.database.engine import now
from webapp.extensions import db, limiter
from webapp.identity.models import User
from webapp.launcher.sink import Mailbox
from webapp.mail.rendering import KINDS
from webapp.mail.service import _private_values, compose
from webapp.mail_store.models import Mail
from webapp.mail_store.outbox import enqueue
from webapp.run_store.states import RunState
from webapp.schedules import service
from webapp.schedules.pausing import service as pausing

ROOT = "/tools/beat"
SITE = f"https://localhost{ROOT}"
READ = {"href", "src", "hx-get", "data-stream"}
SENT = {"action", "formaction", "hx-post"}
# The site of the values with which the wording of mails is shown.
EXAMPLE = "https://beatdesk.example"
# Each page is looked at twice, such as a list and the same with a filter, and as htmx asks for it.
MOST = 2
# Without an end, and not for people.
LEFT_OUT = {"live.runs", "live.run", "metrics.show"}


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    return settings.with_changes(public_url=SITE, check_host=True, mailbox=tmp_path, confirm_addresses=True)


@pytest.fixture
def filled(context: Flask, tmp_path: Path) -> Iterator[Flask]:
    """A bit of everything that pages show."""
    limiter.enabled = False
    Mailbox(tmp_path).keep(envelope("Subject: Hello\r\n\r\nText\r\n"), datetime(2026, 7, 4, 12, tzinfo=UTC))
    fields = {"name": "nightly", "task": "add", "args": [1, 2], "kind": "crontab", "crontab": "30 2 * * *"}
    schedule = service.create({**fields, "tags": "a"}).id
    service.save(schedule, {"crontab": "45 2 * * *"})
    pausing.create({"scope": "tags", "tags": "a", "reason": "moving"}, ZoneInfo("UTC"))
    parent = make_run(RunState.STARTED, started_at=now())
    for state in RunState:
        kin: dict[str, Any] = {"parent_id": parent, "root_id": parent, "schedule_id": schedule}
        make_run(state, schedule_name="nightly", due_at=now(), args="[1, 2]", result="3", **kin)
    add_user(context, "maya@example.org", birthday=date(1990, 2, 28))
    db.session.add(Mail(key="welcome:0", kind="welcome", recipient="x@example.org", state="in doubt"))
    db.session.commit()
    yield context
    limiter.enabled = True


class Addresses(HTMLParser):
    """Collects the addresses of a page that are read, and those to which it sends."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.read: list[str] = []
        self.sent: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value for name, value in attrs if value is not None}
        if tag == "form" and given.get("method") != "post":
            given["href"] = given.pop("action", "")
        self.read += [value for name, value in given.items() if name in READ]
        self.sent += [value for name, value in given.items() if name in SENT]


def addresses_of(answer: TestResponse) -> Addresses:
    """The addresses in a response; fails for one that is not below the path."""
    found = Addresses(answer.text if answer.mimetype == "text/html" else "")
    led = [answer.headers[name] for name in ("Location", "HX-Redirect", "HX-Push-Url") if name in answer.headers]
    for text in (*found.read, *found.sent, *led):
        assert text.startswith((f"{ROOT}/", "#", "?", SITE, EXAMPLE)), (answer.request.path, text)
    found.read += led
    return found


class Crawler:
    """Follows what pages lead to, each page a few times."""

    def __init__(self, visitor: Visitor) -> None:
        self.visitor = visitor
        self.waiting: deque[str] = deque()
        self.sent: dict[str, str] = {}
        self.seen: Counter[str] = Counter()
        self._router = visitor.app.url_map.bind("localhost", url_scheme="https")

    def endpoint(self, text: str, method: str = "GET") -> str:
        try:
            return str(self._router.match(urlsplit(text).path.removeprefix(ROOT), method=method)[0])
        except RequestRedirect:
            return "redirect"
        except HTTPException:
            return "unknown"

    def note(self, found: Addresses) -> None:
        self.waiting.extend(found.read)
        sent = {self.endpoint(text, "POST"): text for text in found.sent}
        # A form that only asks leads to a page.
        self.waiting.extend(text for endpoint, text in sent.items() if endpoint == "unknown")
        self.sent |= {endpoint: text for endpoint, text in sent.items() if endpoint != "unknown"}

    def read(self, *starts: str) -> None:
        self.waiting.extend(starts)
        looked_at = set(LEFT_OUT)
        while self.waiting:
            text = self.waiting.popleft().partition("#")[0]
            endpoint = self.endpoint(text)
            if not text.startswith("/") or text in looked_at or endpoint in LEFT_OUT or self.seen[endpoint] >= MOST:
                continue
            looked_at.add(text)
            self.seen[endpoint] += 1
            self.note(addresses_of(self.visitor.get(text, htmx=self.seen[endpoint] == MOST)))

    def send(self) -> None:
        """Send every form empty; at last the one that signs out."""
        for endpoint, text in sorted(self.sent.items(), key=lambda sent: sent[0] == "accounts.logout"):
            for htmx in (False, True)[endpoint == "accounts.logout" :]:
                headers = {"Referer": SITE, "X-CSRFToken": self.visitor.form_token()}
                answer = self.visitor.open("POST", text, htmx=htmx, headers=headers)
                assert answer.status_code in (200, 204, 303, 401, 404, 409, 422), (endpoint, text)
                addresses_of(answer)


def test_everything_that_pages_lead_to_lies_below_it(filled: Flask) -> None:
    starts = [ROOT + address(rule) for _, rule in routes(filled, ("GET",))]
    crawler = Crawler(Visitor(filled, "admin"))
    crawler.read(f"{ROOT}/")
    linked = set(crawler.seen)
    assert {"schedules.show", "runs.show", "mail.letter", "people.show", "static", "schedule_inquiries.why"} <= linked
    assert "unknown" not in linked
    crawler.read(*starts)
    crawler.send()
    assert len(crawler.sent) > 25
    stranger = Crawler(Visitor(filled))
    stranger.read(*starts)
    assert {"accounts.login", "people.registration_form"} <= set(stranger.seen)
    stranger.send()


def test_mails_lead_below_it(filled: Flask) -> None:
    maya = db.session.query(User).filter_by(email="maya@example.org").one()
    for kind in KINDS.values():
        private = {name: value for name, value in kind.example.items() if not str(value).startswith("https:")}
        added = enqueue(db.session, key=f"x:{kind.name}", kind=kind.name, user=maya, context=private)
        assert added is not None
        mail = compose(added[0], _private_values(added[0]))
        found = re.findall(r"https?://[^\s\"<>]+", f"{mail.text} {mail.html} {mail.headers}")
        assert found
        assert [text for text in found if not text.startswith(SITE)] == [], kind.name


def test_cookies_have_its_path_and_are_bound_to_tls(app: Flask) -> None:
    add_user(app)
    browser = Visitor(app)
    fields = {"email": "maya@example.com", "password": PASSWORD, "csrf_token": browser.form_token()}
    signed_in = browser.client.post("/login", data=fields, headers={"Referer": SITE})
    assert (signed_in.status_code, signed_in.location) == (303, f"{ROOT}/")
    fields = {"theme": "dark", "back": f"{ROOT}/account?x=1", "csrf_token": browser.form_token("/account")}
    chosen = browser.client.post("/theme", data=fields, headers={"Referer": SITE})
    assert chosen.location == f"{ROOT}/account?x=1"
    cookies = [*signed_in.headers.getlist("Set-Cookie"), *chosen.headers.getlist("Set-Cookie")]
    names = {cookie.split("=")[0] for cookie in cookies}
    assert names == {"__Secure-beatdesk", "__Secure-beatdesk-device", "theme"}
    for cookie in cookies:
        assert {"Secure", "HttpOnly", f"Path={ROOT}", "SameSite=Lax"} <= set(cookie.split("; ")), cookie
        assert "Domain" not in cookie


def test_the_sign_in_leads_back_below_it_and_nowhere_else(app: Flask) -> None:
    add_user(app)
    asked = Visitor(app).get("/account?x=1")
    assert asked.location == f"{ROOT}/login?next={ROOT}/account?x%3D1"
    fragment = {"HX-Request": "true", "HX-Current-URL": f"{SITE}/runs?state=failed"}
    assert Visitor(app).get("/runs", headers=fragment).headers["HX-Redirect"] == (
        f"{ROOT}/login?next={ROOT}/runs?state%3Dfailed"
    )
    browser = Visitor(app)
    for wanted, led in {
        f"{ROOT}/account?x=1": f"{ROOT}/account?x=1",
        "/account": f"{ROOT}/",
        "/elsewhere": f"{ROOT}/",
        f"{ROOT}er/x": f"{ROOT}/",
        f"{ROOT}/../../elsewhere": f"{ROOT}/",
        f"{ROOT}/%2e%2e/elsewhere": f"{ROOT}/",
    }.items():
        fields = {"email": "maya@example.com", "password": PASSWORD, "next": wanted, "csrf_token": browser.form_token()}
        answer = browser.client.post("/login", data=fields, headers={"Referer": SITE})
        assert (answer.status_code, answer.location) == (303, led), wanted
        browser.client.delete_cookie("__Secure-beatdesk", path=ROOT)


@pytest.mark.parametrize("before", ["", ROOT])
@pytest.mark.parametrize("given", [{}, {"SCRIPT_NAME": "/other"}])
def test_a_proxy_may_pass_it_on_or_strip_it(settings: Settings, before: str, given: dict[str, str]) -> None:
    # As in production: tests leave static files to Flask.
    app = create_app(settings.with_changes(testing=False))
    client = app.test_client()

    def get(path: str) -> TestResponse:
        return client.get(before + path, base_url="https://localhost", environ_overrides=given, buffered=True)

    page = get("/login")
    assert page.status_code == 200
    # It would bind the rest of the host, and its subdomains.
    assert "Strict-Transport-Security" not in page.headers
    sheet = re.search(rf'href="{ROOT}(/static/beatdesk[^"]+)"', page.text)
    assert sheet
    assert (get(sheet[1]).status_code, get(sheet[1]).mimetype) == (200, "text/css")
    assert get("/add-numbers").location == f"{ROOT}/add-numbers/"
    assert get("/runs").location == f"{ROOT}/login?next={ROOT}/runs"
    assert get("/healthz").json == {"status": "ok"}
    assert get("/nothing").status_code == 404
    if before:
        assert get("").location == f"{ROOT}/login?next={ROOT}/"
        assert get("er/login").status_code == 404
    with app.app_context():
        db.engine.dispose()
