"""Behind a real nginx with the README's configuration: forwarded headers that a client sends are ignored."""

from __future__ import annotations

import http.client
import re
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from flask import Flask

from tests.browser.server import serving
from tests.nginx import HOST, nginx, of_the_readme
from tests.servers import free_port
from tests.visitors import PASSWORD, add_user, all_rows
from webapp.config import Settings
from webapp.identity.models import SignIn


@pytest.fixture(params=["", "/beat"])
def root(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def settings(settings: Settings, root: str) -> Settings:
    public_url = f"https://{HOST}:{free_port()}{root}"
    return settings.with_changes(public_url=public_url, check_host=True, trusted_proxies=1)


@pytest.fixture
def connection(app: Flask, settings: Settings, root: str, tmp_path: Path) -> Iterator[http.client.HTTPSConnection]:
    """To nginx, whose certificate is verified."""
    folder, port = tmp_path / "nginx", int(settings.public_url.removesuffix(root).rpartition(":")[2])
    with serving(app) as upstream, nginx(folder, port, of_the_readme(upstream, root=root or "/")):
        context = ssl.create_default_context(cafile=folder / f"{HOST}.pem")
        made = http.client.HTTPSConnection(HOST, port, timeout=10, context=context)
        yield made
        made.close()


def ask(
    connection: http.client.HTTPSConnection,
    method: str,
    path: str,
    fields: dict[str, str] | None = None,
    **headers: str,
) -> tuple[http.client.HTTPResponse, str]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if fields is not None:
        named["Content-Type"] = "application/x-www-form-urlencoded"
    connection.request(method, path, body=urlencode(fields) if fields else None, headers=named)
    answer = connection.getresponse()
    return answer, answer.read().decode()


def test_the_readmes_configuration_serves_signing_in(
    app: Flask, settings: Settings, root: str, connection: http.client.HTTPSConnection
) -> None:
    add_user(app)
    forged: dict[str, Any] = {
        "X_Forwarded_For": "192.0.2.7",
        "X_Forwarded_Host": "evil.example",
        "X_Forwarded_Proto": "http",
    }
    answer, page = ask(connection, "GET", f"{root}/login", **forged)
    assert answer.status == 200
    token = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert token
    cookie = str(answer.getheader("Set-Cookie"))
    assert cookie.startswith("__Secure-" if root else "__Host-")
    assert "Secure" in cookie
    given: dict[str, Any] = {"Cookie": cookie.partition(";")[0], "Referer": f"{settings.public_url}/login", **forged}
    fields = {"email": "maya@example.com", "password": PASSWORD, "csrf_token": token[1]}
    answer, _ = ask(connection, "POST", f"{root}/login", fields, **given)
    assert (answer.status, answer.getheader("Location")) == (303, f"{root}/")
    assert [row.address for row in all_rows(app, SignIn)] == [HOST]


def test_a_large_import_gets_through_and_other_hosts_do_not(root: str, connection: http.client.HTTPSConnection) -> None:
    # Who is not signed in is led there; nginx itself would answer 413.
    answer, _ = ask(connection, "POST", f"{root}/schedules/import", {"text": "# a comment\n" * 200_000})
    assert answer.status == 400
    answer, page = ask(connection, "GET", f"{root}/login", Host="evil.example")
    assert answer.status == 400
    assert "evil.example" not in page
