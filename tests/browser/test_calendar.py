"""The calendar, the rehearsal and the questions about schedules in a browser."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from playwright.sync_api import Page, expect

from tests.browser.accessibility import PHONE, assert_accessible
from tests.schedules.test_calendar import add_rows
from tests.schedules.test_happened import due
from webapp.database.engine import now
from webapp.extensions import db
from webapp.schedules import service

pytestmark = pytest.mark.browser

NewPage = Callable[..., Page]
SignIn = Callable[[Page, str], None]


@pytest.fixture
def number(app: Flask) -> int:
    """Twelve schedules at midnight and one in the night of Berlin's clocks; returns the number of the first."""
    base = {"task": "add", "args": [1, 2], "kind": "crontab", "timezone": "UTC"}
    with app.app_context():
        made = [
            service.create({**base, "name": f"Report {place:02}", "crontab": "0 0 * * *"}).id for place in range(12)
        ]
        service.create({**base, "name": "Night", "crontab": "30 2 * * *", "timezone": "Europe/Berlin"})
        db.session.remove()
    return made[0]


def tomorrow() -> str:
    """The next midnight in UTC."""
    return f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%d}T00:00Z"


def test_what_looks_ahead_and_back_is_accessible(page: Page, sign_in: SignIn, app: Flask, number: int) -> None:
    hour = now().replace(minute=0, second=0, microsecond=0)
    add_rows(app, *(due(number, hour - timedelta(hours=2, minutes=place), "failed") for place in range(3)))
    sign_in(page, "scheduler")
    # About noon there: some hours of the day have passed.
    zone = f"Etc/GMT{hour.hour - 12:+d}".replace("+", "%2B")
    for path in (
        f"/schedules/calendar?zone={zone}",
        f"/schedules/calendar/hour?zone={zone}&at={hour - timedelta(hours=2):%Y-%m-%dT%H:%MZ}",
        f"/schedules/calendar/hour?zone={zone}&at={hour:%Y-%m-%dT%H:%MZ}",
        "/schedules/calendar?zone=UTC",
        f"/schedules/calendar/hour?at={tomorrow()}",
        "/schedules/rehearsal?from=2027-10-01T00:00&to=2027-11-05T00:00",
    ):
        page.goto(path)
        assert_accessible(page)
    page.goto(f"/schedules/{number}")
    page.locator("summary", has_text="Run now").click()
    page.get_by_role("button", name="Dry run").click()
    expect(page.get_by_text("It would wait")).to_be_visible()
    assert_accessible(page)


def test_what_asks_first_is_accessible(page: Page, sign_in: SignIn, number: int) -> None:
    sign_in(page, "scheduler")
    page.goto(f"/schedules/calendar/minute?at={tomorrow()}")
    page.get_by_label("All 12 movable schedules").check()
    page.get_by_role("button", name="Move to quieter minutes").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Move 12 schedules?")
    assert_accessible(page)
    for action in ("Tag", "Delete"):
        page.goto("/schedules")
        page.get_by_label("All schedules").check()
        page.locator("#bulk").get_by_role("button", name=action).click()
        expect(page.get_by_role("heading", level=1)).to_contain_text(action)
        assert_accessible(page)


def test_twelve_move_away_from_midnight_by_keyboard_without_javascript(
    new_page: NewPage, sign_in: SignIn, number: int
) -> None:
    page = new_page(java_script_enabled=False, viewport=PHONE)
    sign_in(page, "scheduler")
    page.goto("/schedules/calendar?zone=UTC")
    row = page.get_by_role("row", name="00:00").first
    expect(row.get_by_role("rowheader")).to_have_text("00:00")
    expect(row.get_by_role("link").last).to_contain_text("12 runs,")
    page.get_by_role("link", name="View and move 00:00").focus()
    page.keyboard.press("Enter")
    page.get_by_label("All 12 movable schedules").focus()
    page.keyboard.press("Space")
    page.get_by_role("button", name="Move to quieter minutes").focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Move 12 schedules").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("Moved 12 schedules. No run was started.")).to_be_visible()
    expect(page.get_by_text("No minute of this week exceeds its slots")).to_be_visible()
    page.get_by_role("button", name="Move back").focus()
    page.keyboard.press("Enter")
    row = page.get_by_role("row", name="00:00").first
    expect(row.get_by_role("link").last).to_contain_text("12 runs,")
