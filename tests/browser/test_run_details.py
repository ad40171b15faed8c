"""The page of a run with everything it can show: workflow, trees, progress, log lines, traceback; grouped failures."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from playwright.sync_api import Page, expect

from tests.browser.accessibility import assert_accessible
from tests.runs.making import make_run
from tests.runs.test_family import signature
from tests.runs.test_tracebacks import WHOLE
from webapp.database.engine import now
from webapp.extensions import db
from webapp.recorder.recording import RETRY_LEVEL
from webapp.run_store import sending
from webapp.run_store.models import Run, RunLine
from webapp.run_store.states import Origin, RunState

pytestmark = pytest.mark.browser

VALUE = json.dumps({"rows": list(range(200)), "text": "x" * 2_000, "ok": True, "inner": {"a": {"b": [None, 1.5]}}})


@pytest.fixture
def busy(context: Flask) -> str:
    """A run under way that has everything; the failed one of its chord is there too."""
    at = now()
    run_id = make_run(
        RunState.STARTED,
        task="orders.close_month",
        args=VALUE,
        started_at=at - timedelta(seconds=30),
        attempt=1,
        progress_at=at,
        progress_done=30,
        progress_total=120,
        progress_text="order 30",
    )
    row = {"run_id": run_id, "at": at}
    lines = [
        row | {"entry": "1", "level": RETRY_LEVEL, "text": "ConnectionError: no answer"},
        row | {"entry": "2", "level": "warning", "text": "<b>no</b> postcode"},
        row | {"entry": "3", "level": "info", "text": "word " * 60},
    ]
    db.session.execute(sa.insert(RunLine), lines)
    kin: dict[str, Any] = {"parent_id": run_id, "root_id": run_id, "origin": Origin.TASK}
    joins = json.dumps({"chord": signature("total")})
    states = [*RunState, *[RunState.SUCCEEDED] * 4]
    for index, state in enumerate(states):
        make_run(state, task="orders.price", group_id="g", group_index=index, options=joins, **kin)
    chain = json.dumps({"chain": [signature("later"), signature("next")]})
    make_run(RunState.FAILED, task="orders.import", options=chain, error="KeyError: 'order'", traceback=WHOLE, **kin)
    db.session.remove()
    return run_id


def test_pages_are_accessible(page: Page, sign_in: Callable[[Page, str], None], busy: str) -> None:
    sign_in(page, "operator")
    paths = [f"/runs/{busy}", "/failures", "/runs/retry-all?state=failed", "/runs/cancel-all?state=queued"]
    paths += [f"/runs/{busy}/values/args", f"/runs?q=root:{busy}"]
    for path in paths:
        page.goto(path)
        assert_accessible(page)


def test_what_a_reader_opened_or_closed_stays_so_while_the_page_follows(
    new_page: Callable[..., Page], sign_in: Callable[[Page, str], None], busy: str
) -> None:
    page = new_page(permissions=["clipboard-read", "clipboard-write"])
    sign_in(page, "viewer")
    page.goto(f"/runs/{busy}")
    inner = page.locator("#value-args details", has_text="inner").last
    page.get_by_role("link", name="Show all").click()
    expect(page.locator("#value-args")).to_contain_text("x" * 2_000)
    page.locator("#value-args summary", has_text="inner").click()
    # All of it is open; the reader closes a part.
    expect(inner).not_to_have_attribute("open", "")
    page.locator("#family details summary").click()
    page.get_by_role("link", name="Copy as JSON").click()
    expect(page.locator("#value-args [role=status]")).to_have_text("copied")
    assert json.loads(page.evaluate("navigator.clipboard.readText()")) == json.loads(VALUE)
    db.session.execute(sa.update(Run).where(Run.id == busy).values(progress_text="order 99"))
    db.session.commit()
    sending.tell_pages([busy])
    expect(page.locator(".run-progress")).to_contain_text("order 99")
    expect(page.locator("#value-args")).to_contain_text("x" * 2_000)
    expect(inner).not_to_have_attribute("open", "")
    expect(page.locator("#family details")).to_have_attribute("open", "")
    page.locator("a.family-box").nth(3).click()
    expect(page.get_by_role("heading", name="orders.price")).to_be_visible()
