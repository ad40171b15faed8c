"""No response depends on the host that a request names."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from flask import Flask
from werkzeug.routing import Rule

from tests.visitors import Visitor, add_user
from webapp import create_app
from webapp.config import Settings
from webapp.extensions import db

EVIL = "evil.example"
HOSTS = (
    {"Host": EVIL},
    {"Host": f"{EVIL}:8080"},
    {"Host": f"localhost.{EVIL}"},
    {"Host": f"{EVIL}/x"},
    {"Host": f"localhost@{EVIL}"},
    {"X-Forwarded-Host": EVIL},
    {"X-Forwarded-Host": f"localhost, {EVIL}"},
    {"X-Forwarded-Host": EVIL, "X-Forwarded-Proto": "javascript"},
    {"Forwarded": f"host={EVIL}", "X-Forwarded-Server": EVIL, "X-Original-Host": EVIL, "X-Host": EVIL},
)
PATHS = (f"//{EVIL}/runs", f"/\\{EVIL}", f"//{EVIL}//add-numbers", f"/{EVIL}//..//", "/runs//1", "//runs", "/%2f%2fx")


@pytest.fixture
def behind(settings: Settings) -> Iterator[Flask]:
    """Behind one proxy, so that what it forwards is believed; a `Host` without it counts as well."""
    made = create_app(settings.with_changes(trusted_proxies=1))
    yield made
    with made.app_context():
        db.session.remove()
        db.engine.dispose()


def addresses(rule: Rule) -> set[str]:
    """A path for a route, with its slash at the end and without."""
    path = re.sub(r"<(?:any\(([^,)]+)[^>]*|[^>]*)>", lambda found: found[1] or "1", rule.rule)
    return {path, path.rstrip("/") or "/", f"{path}/", f"/{path}"}


def test_no_redirect_leaves_the_site_whatever_host_is_named(behind: Flask) -> None:
    add_user(behind, "ada@example.com", "admin")
    signed_in, stranger = Visitor(behind), Visitor(behind)
    signed_in.sign_in("ada@example.com")
    paths = {path for rule in behind.url_map.iter_rules() for path in addresses(rule)} - {"/metrics"}
    paths = {path for path in paths if not path.startswith(("/static", "/live", "/readyz"))} | set(PATHS)
    redirects = 0
    for number, path in enumerate(sorted(paths)):
        headers = HOSTS[number % len(HOSTS)]
        if number % 2:
            headers = {**headers, "HX-Request": "true", "HX-Current-URL": f"http://{EVIL}//{EVIL}/x"}
        for browser in (signed_in, stranger):
            answer = browser.client.get(path, headers=headers, buffered=True)
            for name in ("Location", "HX-Redirect", "Content-Location", "Refresh"):
                if name in answer.headers:
                    redirects += 1
                    assert re.match(r"/(?![/\\])", answer.headers[name]), (path, headers, answer.headers[name])
    assert redirects > 60


def test_no_page_repeats_the_host(behind: Flask) -> None:
    client = behind.test_client()
    for headers in HOSTS:
        for path in ("/login", "/register", "/reset", "/confirm", "/nothing/here", "/add-numbers"):
            assert EVIL not in client.get(path, headers=headers).text, (headers, path)


@pytest.fixture
def named(settings: Settings) -> Iterator[Flask]:
    made = create_app(settings.with_changes(public_url="http://beat.example.com", check_host=True, trusted_proxies=1))
    yield made
    with made.app_context():
        db.session.remove()
        db.engine.dispose()


def test_other_hosts_are_refused_where_the_own_is_known(named: Flask) -> None:
    client = named.test_client()
    for headers in (*HOSTS[:8], {"Host": "127.0.0.1"}, {"Host": ""}, {"Host": "[::1"}, {"Host": "beat.example.com.x"}):
        for path in ("/login", "/", "/add-numbers", "/nothing", "/register"):
            given = {"Host": "beat.example.com", **headers}
            answer = client.get(path, headers=given)
            assert answer.status_code == 400, (given, path)
            assert "http://beat.example.com" in answer.text
            assert "Location" not in answer.headers
        assert client.post("/login", data={}, headers={"Host": "beat.example.com", **headers}).status_code == 400
        assert client.get("/healthz", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "host", ["beat.example.com", "BEAT.example.com", "beat.example.com:80", "beat.example.com:8443"]
)
def test_the_own_host_is_served(named: Flask, host: str) -> None:
    client = named.test_client()
    assert client.get("/login", headers={"Host": host}).status_code == 200
    assert client.get("/login", headers={"Host": "10.0.0.7:5000", "X-Forwarded-Host": host}).status_code == 200


def test_the_host_is_checked_only_where_it_was_set() -> None:
    given = {"SECRET_KEY": "x" * 20}
    assert Settings.from_env(given).check_host is False
    assert Settings.from_env({**given, "PUBLIC_URL": "https://beat.example.com"}).check_host is True
