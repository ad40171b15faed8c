"""Runs in a real browser: with and without JavaScript, light and dark, and for a screen reader."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from flask import Flask
from playwright.sync_api import Page, expect

from tests.browser.accessibility import assert_accessible
from tests.runs.making import make_run
from tests.workers.test_pages import make_worker
from webapp.database.engine import now
from webapp.extensions import db
from webapp.run_store.models import Run
from webapp.run_store.states import RunState

pytestmark = pytest.mark.browser


@pytest.fixture
def some_runs(context: Flask) -> dict[RunState, str]:
    """One of each state, and a worker."""
    worker = make_worker("w1@host-a", silent_for=-3600)
    make_worker("w2@host-a", silent_for=600)
    long = "x" * 300
    made = {
        state: make_run(
            state,
            args=f'["{long}"]',
            started_at=now(),
            schedule_id=7 if state == RunState.SUCCEEDED else None,
            schedule_name=long[:200] if state == RunState.SUCCEEDED else None,
            due_at=now() if state == RunState.SUCCEEDED else None,
            claimed_by=worker,
            result='{"a": [1, 2]}',
            error="ValueError: <img src=x onerror=alert(1)>" if state == RunState.FAILED else None,
            traceback="Traceback\n  <script>alert(1)</script>" if state == RunState.FAILED else None,
        )
        for state in RunState
    }
    db.session.remove()
    return made


def test_pages_are_accessible(page: Page, sign_in: Callable[[Page, str], None], some_runs: dict[RunState, str]) -> None:
    sign_in(page, "operator")
    paths = ["/runs", "/runs?state=held&q=nothing", "/runs/new", "/runs/new?task=add", "/workers", "/queues"]
    paths += ["/add-numbers/"] + [f"/runs/{run_id}" for run_id in some_runs.values()]
    for path in paths:
        page.goto(path)
        assert_accessible(page)
    sign_in(page, "admin")
    page.goto("/runs/retention")
    assert_accessible(page)


def test_what_the_search_finds_is_exported(
    page: Page, sign_in: Callable[[Page, str], None], some_runs: dict[RunState, str]
) -> None:
    sign_in(page, "viewer")
    page.goto("/runs?state=failed")
    page.get_by_text("Export", exact=True).click()
    assert_accessible(page)
    with page.expect_download() as download:
        page.get_by_role("link", name="JSON").click()
    found = json.loads(download.value.path().read_text(encoding="utf-8"))
    assert [(run["id"], run["result"]) for run in found] == [(some_runs[RunState.FAILED], {"a": [1, 2]})]


def test_sum_appears_by_itself(page: Page, sign_in: Callable[[Page, str], None], context: Flask) -> None:
    sign_in(page, "operator")
    page.goto("/add-numbers/")
    page.get_by_label("First number").fill("2")
    page.get_by_label("Second number").fill("3")
    page.get_by_role("button", name="Add numbers").click()
    result = page.locator("#task-result")
    expect(result).to_contain_text("queued")
    done = sa.update(Run).values(state=RunState.SUCCEEDED, result="5", ended_at=now())
    db.session.execute(done)
    db.session.commit()
    expect(page.locator(".task-value")).to_have_text("5")
    # Ended: it asks no more.
    assert result.get_attribute("hx-trigger") is None
    requests: list[str] = []
    # Every page asks whether all is well.
    page.on("request", lambda request: None if request.url.endswith("/health") else requests.append(request.url))
    page.wait_for_timeout(1500)
    assert requests == []


def test_sum_works_without_javascript(
    new_page: Callable[..., Page], sign_in: Callable[[Page, str], None], context: Flask
) -> None:
    page = new_page(java_script_enabled=False)
    sign_in(page, "operator")
    page.goto("/add-numbers/")
    page.get_by_label("First number").fill("2")
    page.get_by_label("Second number").fill("3")
    page.get_by_role("button", name="Add numbers").click()
    expect(page.locator("#task-result")).to_contain_text("queued")
    expect(page.get_by_role("link", name="Reload")).to_be_visible()


def test_task_is_chosen_and_launched(
    page: Page, sign_in: Callable[[Page, str], None], context: Flask, complaints: list[str]
) -> None:
    sign_in(page, "operator")
    page.goto("/runs/new")
    page.get_by_label("Task", exact=True).select_option("add")
    page.get_by_label("num1").fill("two")
    page.get_by_label("num2").fill("3")
    page.get_by_role("button", name="Launch").click()
    expect(page.get_by_text("Enter a number")).to_be_visible()
    # The browser logs that the form came back with 422.
    assert all("422" in complaints.pop() for _ in list(complaints))
    page.get_by_label("num1").fill("2")
    page.get_by_role("button", name="Launch").click()
    expect(page.get_by_role("heading", name="add")).to_be_visible()
    expect(page.locator("#run")).to_contain_text("queued")
