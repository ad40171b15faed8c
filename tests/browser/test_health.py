"""An open page shows that a process died: soon, without a reload, with and without push, and only while it is true."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack

import pytest
import redis as redis_client
import sqlalchemy as sa
from flask import Flask
from playwright.sync_api import Page, expect

from tests import processes
from tests.browser.accessibility import assert_accessible
from tests.browser.test_live import hide
from tests.overview.test_readyz import everything_is_there
from tests.servers import wait_for
from webapp.config import Settings
from webapp.database.engine import now
from webapp.extensions import db
from webapp.schedule_store.beat_models import Beat

pytestmark = pytest.mark.browser

MARKED = re.compile(r"^\(!\) ")


def test_open_page_shows_a_problem_and_removes_it(
    new_page: Callable[..., Page],
    sign_in: Callable[[Page, str], None],
    context: Flask,
    redis: redis_client.Redis,
) -> None:
    everything_is_there(redis)
    db.session.execute(sa.text("UPDATE workers SET seen_at = '2999-01-01'"))
    db.session.execute(sa.update(Beat).values(seen_at=now().replace(year=2999)))
    db.session.commit()
    page = new_page(viewport={"width": 375, "height": 800}, color_scheme="dark")
    sign_in(page, "viewer")
    page.goto("/runs")
    live = page.locator("#live")
    expect(live).to_have_text("live")
    expect(page).not_to_have_title(MARKED)
    well = live.evaluate("sign => getComputedStyle(sign).color")
    db.session.execute(sa.update(Beat).values(seen_at=now().replace(year=2000)))
    db.session.commit()
    banner = page.locator("#health")
    expect(banner).to_contain_text("No beat is running. Schedules have not fired since 2000-", timeout=6_000)
    expect(banner).to_contain_text("celery -A wsgi:celery beat")
    expect(page).to_have_title(re.compile(r"^\(!\) Runs"))
    # The sign goes on to say how the page stays up to date, but not that all is well.
    expect(live).to_have_text("live")
    assert live.evaluate("sign => getComputedStyle(sign).color") != well
    assert_accessible(page, "#health")
    db.session.execute(sa.update(Beat).values(seen_at=now().replace(year=2999)))
    db.session.commit()
    expect(banner.locator("p")).to_have_count(0, timeout=6_000)
    expect(page).to_have_title(re.compile(r"^Runs"))
    assert live.evaluate("sign => getComputedStyle(sign).color") == well
    hide(page, hidden=True)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(2_500)
    assert asked == []


@pytest.mark.slow
def test_killed_worker_shows_within_10_s_and_killed_beat_within_12(
    new_page: Callable[..., Page],
    sign_in: Callable[[Page, str], None],
    settings: Settings,
    context: Flask,
    redis: redis_client.Redis,
) -> None:
    with ExitStack() as stack:
        beat = stack.enter_context(processes.running(processes.beat(settings)))
        stack.enter_context(processes.recorder(settings))
        worker = stack.enter_context(processes.worker(settings))
        wait_for(lambda: context.extensions["health"].health().ready, seconds=30, message="not everything was there")
        pages = [new_page(viewport={"width": 1280, "height": 800}) for _ in range(2)]
        for page, path in zip(pages, ("/runs", "/mail"), strict=True):
            sign_in(page, "viewer")
            page.goto(path)
            expect(page.locator("#health p")).to_have_count(0)
        worker.popen.send_signal(signal.SIGKILL)
        beat.popen.send_signal(signal.SIGKILL)
        killed = time.monotonic()
        for text, bound in (("No worker is running.", 10.0), ("No beat is running.", 12.0)):
            for page in pages:
                left = max(killed + bound - time.monotonic(), 0.001)
                expect(page.locator("#health")).to_contain_text(text, timeout=left * 1000)
        for page in pages:
            expect(page).to_have_title(MARKED)
