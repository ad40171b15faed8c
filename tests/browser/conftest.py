"""Fixtures for tests in a real browser. A test fails when its page logs an error or breaks the content policy."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from flask import Flask
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page

from tests.browser import server
from tests.visitors import signed_in


@pytest.fixture
def live_server(app: Flask) -> Iterator[str]:
    """The address of the application on this test's database."""
    with server.serving(app) as address:
        yield address


@pytest.fixture
def complaints() -> list[str]:
    """The errors that the browser has reported so far. A test that provokes errors removes those."""
    return []


@pytest.fixture
def new_page(chromium: Browser, live_server: str, complaints: list[str]) -> Iterator[Callable[..., Page]]:
    """Makes a page in a context of its own: `new_page(java_script_enabled=False, color_scheme="dark")`.

    Errors of scripts, breaches of the content security policy (the browser logs them) and lost requests fail the test.
    """
    contexts: list[BrowserContext] = []

    def note(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            complaints.append(f"{message.type}: {message.text}")

    def make(**options: object) -> Page:
        context = chromium.new_context(base_url=live_server, **options)  # type: ignore[arg-type]  # passed through
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("console", note)
        page.on("pageerror", lambda error: complaints.append(f"script: {error}"))
        return page

    yield make
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def page(new_page: Callable[..., Page]) -> Page:
    """A desktop browser that is not signed in."""
    return new_page(viewport={"width": 1280, "height": 800})


@pytest.fixture
def sign_in(app: Flask, live_server: str) -> Callable[[Page, str], None]:
    """Signs a page's browser in as a person with a role: `sign_in(page, "admin")`."""

    def as_role(page: Page, role: str) -> None:
        client = app.test_client()
        signed_in(app, client, role)
        kept = client.get_cookie(app.config["SESSION_COOKIE_NAME"])
        assert kept is not None
        page.context.add_cookies([{"name": kept.key, "value": kept.value, "url": live_server, "httpOnly": True}])

    return as_role
