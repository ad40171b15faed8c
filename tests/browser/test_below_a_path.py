"""The application below a path, behind a real nginx with the README's configuration, in a real browser."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis as redis_client
import sqlalchemy as sa
from flask import Flask
from playwright.sync_api import Page, expect

from tests.browser import server
from tests.nginx import HOST, nginx, of_the_readme
from tests.people.test_confirming import sent
from tests.servers import free_port
from tests.visitors import PASSWORD
from webapp.config import Settings
from webapp.database.engine import now
from webapp.extensions import db
from webapp.run_store.changes import announce
from webapp.run_store.models import Run
from webapp.run_store.states import RunState
from webapp.schedules import service

pytestmark = pytest.mark.browser

ROOT = "/beat"


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def settings(settings: Settings, port: int) -> Settings:
    address = f"https://{HOST}:{port}{ROOT}"
    return settings.with_changes(public_url=address, check_host=True, trusted_proxies=1, confirm_addresses=True)


@pytest.fixture(params=["passed on", "stripped"])
def live_server(
    request: pytest.FixtureRequest, app: Flask, settings: Settings, port: int, tmp_path: Path
) -> Iterator[str]:
    with server.serving(app) as upstream:
        configuration = of_the_readme(upstream, root=ROOT, strip=request.param == "stripped")
        with nginx(tmp_path / "nginx", port, configuration):
            yield settings.public_url


def test_a_day_below_a_path(
    new_page: Callable[..., Page], live_server: str, context: Flask, redis: redis_client.Redis, complaints: list[str]
) -> None:
    email = server.add_person(context, "scheduler")
    fields = {"name": "nightly", "task": "add", "args": [1, 2], "kind": "crontab", "crontab": "30 2 * * *"}
    schedule = service.create(fields).id
    page = new_page(ignore_https_errors=True)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    sign_in(page, live_server, email)
    launch_and_follow(page, live_server, redis)
    edit(page, f"{live_server}/schedules/{schedule}")
    register_and_confirm(page, live_server, context)
    # An error's page leads back, too.
    page.goto(f"{live_server}/nothing/here")
    assert "404" in complaints.pop()
    page.get_by_role("link", name="Go to overview").click()
    expect(page).to_have_url(f"{live_server}/login?next={ROOT}/")
    assert [url for url in asked if not url.startswith(f"{live_server}/")] == [live_server]


def arrive(page: Page, address: str) -> None:
    """Wait for a page and its scripts: what is chosen before htmx is there asks for nothing."""
    expect(page).to_have_url(address)
    page.wait_for_load_state()


def sign_in(page: Page, site: str, email: str) -> None:
    """From the path without its slash, to which nginx adds it, to the front page, in the dark."""
    page.goto(site)
    expect(page).to_have_url(f"{site}/login?next={ROOT}/")
    page.get_by_label("Email address").fill(email)
    page.get_by_label("Password").fill(server.PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(f"{site}/")
    cookies = {cookie["name"]: (cookie["path"], cookie["secure"]) for cookie in page.context.cookies()}
    assert cookies == dict.fromkeys(("__Secure-beatdesk", "__Secure-beatdesk-device"), (ROOT, True))
    page.get_by_role("button", name="Dark").click()
    expect(page.locator("html")).to_have_attribute("data-bs-theme", "dark")
    expect(page).to_have_url(f"{site}/")


def launch_and_follow(page: Page, site: str, redis: redis_client.Redis) -> None:
    """A run by the form, whose fields come by htmx; its end is pushed."""
    page.get_by_role("link", name="Runs", exact=True).click()
    page.get_by_role("link", name="Launch a task").first.click()
    arrive(page, f"{site}/runs/new")
    page.get_by_label("Task", exact=True).select_option("add")
    page.get_by_label("num1").fill("2")
    page.get_by_label("num2").fill("3")
    page.get_by_role("button", name="Launch").click()
    expect(page).to_have_url(re.compile(rf"{site}/runs/[0-9a-f-]{{36}}"))
    expect(page.locator("#live")).to_have_text("live")
    run_id = page.url.rpartition("/")[2]
    done = {"state": RunState.SUCCEEDED, "result": "5", "started_at": now(), "ended_at": now()}
    db.session.execute(sa.update(Run).where(Run.id == run_id).values(**done))
    db.session.commit()
    announce(redis, [run_id])
    expect(page.locator("#run")).to_contain_text("succeeded", timeout=3_000)


def edit(page: Page, address: str) -> None:
    """A schedule, with its preview."""
    page.get_by_role("link", name="Schedules", exact=True).click()
    page.get_by_role("link", name="nightly").click()
    page.get_by_role("link", name="Edit").click()
    arrive(page, f"{address}/edit")
    page.get_by_label("Crontab", exact=True).last.fill("*/30 * * * *")
    expect(page.locator("#preview")).to_contain_text("Every 30 minutes")
    page.get_by_role("button", name="Save").click()
    expect(page).to_have_url(address)
    expect(page.locator("main")).to_contain_text("Every 30 minutes")


def register_and_confirm(page: Page, site: str, app: Flask) -> None:
    """After signing out; by the link of the welcome mail."""
    page.locator(".user-menu summary").click()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("link", name="Register").first.click()
    page.get_by_label("Name").fill("Maya Gurung")
    page.get_by_label("Birthday").fill("1990-02-28")
    page.get_by_label("Email address").fill("maya@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Register").click()
    expect(page.get_by_role("heading", name="Check your email")).to_be_visible()
    link = re.search(rf"{site}/confirm/\S+", sent(app)[2])
    assert link
    page.goto(link[0])
    expect(page.get_by_role("heading", name="Your address is confirmed")).to_be_visible()
