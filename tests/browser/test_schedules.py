"""The list and the editor of schedules in a real browser."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from flask import Flask
from playwright.sync_api import Page, expect

from tests.browser.accessibility import PHONE, assert_accessible
from webapp.database.engine import now
from webapp.extensions import db
from webapp.schedule_store.beat_models import Beat
from webapp.schedule_store.models import ScheduleRevision
from webapp.schedules import service
from webapp.schedules.pausing import service as pausing

pytestmark = pytest.mark.browser

NewPage = Callable[..., Page]
SignIn = Callable[[Page, str], None]
SUMS = {"task": "add", "args": [1, 2], "timezone": "Europe/Berlin"}


@pytest.fixture
def number(app: Flask) -> int:
    """One schedule of each kind; returns the crontab's number."""
    kinds: list[dict[str, Any]] = [
        {"kind": "crontab", "crontab": "30 2 * * *", "tags": "nightly", "description": "Every night."},
        {"kind": "interval", "every": 10, "period": "minutes", "enabled": False},
        {"kind": "solar", "event": "sunset", "latitude": 27.7, "longitude": 85.3},
        {"kind": "clocked", "at": "2099-01-01T00:00"},
    ]
    with app.app_context():
        made = [service.create({**SUMS, "name": f"a schedule {fields['kind']}", **fields}).id for fields in kinds]
        service.save(made[0], {"crontab": "45 2 * * *"})
        service.pause(made[2], reason="moving")
        utc, ahead = ZoneInfo("UTC"), [(now() + timedelta(hours=hours)).isoformat() for hours in (20, 22)]
        window = {"scope": "everything", "reason": "maintenance", "from": ahead[0], "until": ahead[1]}
        pausing.create({"scope": "tags", "tags": "nightly", "reason": "a new server"}, utc)
        pausing.create(window, utc)
        db.session.remove()
    return made[0]


def test_pages_are_accessible(page: Page, sign_in: SignIn, number: int) -> None:
    sign_in(page, "admin")
    for path in (
        "/schedules",
        "/schedules?sort=next&direction=down",
        "/schedules?q=nothing",
        "/schedules/new",
        f"/schedules/{number}",
        f"/schedules/{number}/edit",
        f"/schedules/{number + 2}",
        f"/schedules/{number}/why",
        "/schedules/import",
        "/schedules/rehearsal",
        "/schedules/pauses",
        "/schedules/pauses/1",
        "/schedules/pauses/2",
    ):
        page.goto(path)
        assert_accessible(page)


def test_filters_are_in_the_address_as_they_are_typed(page: Page, sign_in: SignIn, number: int) -> None:
    sign_in(page, "viewer")
    page.goto("/schedules")
    search, kind, tag = (page.locator(f".filters [name={name}]") for name in ("q", "kind", "tag"))
    rows = page.locator("#schedules tbody tr")
    search.fill("crontab")
    expect(rows).to_have_count(1)
    expect(page).to_have_url(re.compile(r"/schedules\?q=crontab$"))
    tag.select_option("nightly")
    expect(page).to_have_url(re.compile(r"/schedules\?q=crontab&tag=nightly$"))
    expect(tag.locator("option:checked")).to_have_text("nightly (1)")
    page.reload()
    expect(search).to_have_value("crontab")
    expect(tag).to_have_value("nightly")
    rows.get_by_role("link", name="a schedule crontab").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("a schedule crontab")
    page.go_back()
    expect(search).to_have_value("crontab")
    expect(tag).to_have_value("nightly")
    expect(rows).to_have_count(1)
    page.get_by_role("link", name="Clear filters").click()
    # Until it is loaded, and listens.
    page.wait_for_url(re.compile(r"/schedules$"))
    kind.select_option("solar")
    expect(rows).to_have_count(1)
    expect(page.get_by_role("link", name="Clear filters")).to_be_visible()


def test_an_import_shows_what_it_would_do(page: Page, sign_in: SignIn, number: int) -> None:
    sign_in(page, "scheduler")
    page.goto("/schedules/import")
    page.get_by_label("Text").fill("0 5 1 * fri add 1 2\n0 6 * * * /bin/backup --a-rather-long-option=of-the-command\n")
    page.get_by_label("Delete schedules that are not in the file").check()
    page.get_by_role("button", name="Preview").click()
    expect(page.get_by_text("Read as a crontab file.")).to_be_visible()
    expect(page.get_by_role("group", name="Task of each command")).to_be_visible()
    assert_accessible(page)
    page.get_by_label("Delete schedules that are not in the file").uncheck()
    page.get_by_role("button", name="Preview").click()
    page.get_by_label("Leave out add 1 2 (days of the week)").check()
    page.get_by_role("button", name="Import the rest").click()
    expect(page.get_by_text("1 could not be imported")).to_be_visible()
    expect(page.get_by_role("link", name="add 1 2 (days of the month)")).to_be_visible()
    expect(page.get_by_role("link", name="add 1 2 (days of the week)")).to_have_count(0)


def test_a_form_with_errors_is_accessible(page: Page, sign_in: SignIn, number: int, complaints: list[str]) -> None:
    sign_in(page, "admin")
    page.goto("/schedules/new")
    page.get_by_role("button", name="Create").click()
    expect(page.locator("#name-error")).to_have_text("Enter a name.")
    page.get_by_text("Crontab builder").click()
    assert_accessible(page)
    page.goto(f"/schedules/{number}")
    page.locator("summary", has_text="Run now").click()
    page.locator("[id='run-arg.num1']").fill("one")
    page.get_by_role("button", name="Start run").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Run a schedule crontab now")
    assert_accessible(page)
    # The browser notes the status 422.
    assert [text for text in complaints if "422" not in text] == []
    complaints.clear()


def test_it_is_made_while_the_preview_answers(page: Page, sign_in: SignIn) -> None:
    sign_in(page, "scheduler")
    page.goto("/schedules/new")
    expect(page.get_by_label("Every", exact=True)).to_be_hidden()
    page.get_by_label("Name").fill("Half hours")
    page.get_by_label("Task").select_option("add")
    page.get_by_label("num1").fill("1")
    page.get_by_label("num2").fill("2")
    page.get_by_label("Crontab", exact=True).last.fill("*/30 * * * *")
    expect(page.locator("#preview .due-local")).to_have_count(10)
    expect(page.locator("#preview")).to_contain_text("Every 30 minutes")
    page.get_by_label("Crontab", exact=True).last.fill("61 * * * *")
    expect(page.locator("#preview .preview-error")).to_contain_text("61 is not a minute")
    expect(page.locator("#crontab-error")).to_have_text("Minute: 61 is not a minute (0 to 59).")
    expect(page.locator("#crontab")).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#crontab")).to_be_focused()
    expect(page.locator(".part-wrong")).to_have_count(1)
    page.get_by_text("Interval", exact=True).click()
    expect(page.get_by_label("Every", exact=True)).to_be_visible()
    expect(page.locator("#crontab")).to_be_hidden()
    page.get_by_label("Every", exact=True).fill("3")
    page.get_by_label("Period").select_option("hours")
    expect(page.locator("#preview")).to_contain_text("Every 3 hours")
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Half hours")
    expect(page.get_by_text("No run was started.")).to_be_visible()


def test_a_report_on_the_last_sunday_of_october(page: Page, sign_in: SignIn) -> None:
    sign_in(page, "scheduler")
    page.set_viewport_size(PHONE)
    page.goto("/schedules/new")
    page.get_by_label("Name").fill("October report")
    page.get_by_label("Task").select_option("add")
    page.get_by_label("num1").fill("one")
    page.get_by_label("Time zone").fill("Berlin")
    page.get_by_text("Crontab builder").click()
    page.get_by_label("At", exact=True).first.fill("02:30")
    page.get_by_label("Days").select_option("month")
    page.get_by_label("Day of the month", exact=True).last.fill("31")
    page.locator("#build-month").select_option("jun")
    expect(page.locator("#build-day-error")).to_have_text("June has no day 31.")
    page.get_by_label("Days").select_option("last")
    expect(page.locator("#crontab")).to_have_value("30 2 25-31 jan sun")
    expect(page.locator("#build-day-error")).to_have_count(0)
    expect(page.locator("#build-month")).to_be_hidden()
    page.locator("#build-of").focus()
    page.locator("#build-of").select_option("oct")
    expect(page.locator("#crontab")).to_have_value("30 2 25-31 oct sun")
    expect(page.locator("#build-of")).to_be_focused()
    expect(page.locator("#preview .due-note")).to_have_text(
        ["clocks go back: first of two passes, runs only once"] * 10
    )
    notes = page.locator("#clock-notes")
    expect(notes).to_contain_text(re.compile(r"On Sun \d\d Oct 20\d\d at 02:30, clocks go back: first of two passes"))
    expect(notes).to_have_attribute("role", "status")
    expect(page.locator("#crontab")).to_have_accessible_description(re.compile("clocks go back: first of two passes"))
    summary = page.locator("#summary")
    expect(summary).to_contain_text("On the last Sunday of October at 02:30, Europe/Berlin time")
    expect(summary).to_contain_text("Check 1 field: num1")
    expect(page.locator("[id='arg.num1-error']")).to_contain_text("Enter a number")
    # Whatever is being typed, what it would do and the way to save it stay in view.
    expect(summary).to_be_in_viewport()
    expect(page.get_by_role("button", name="Create")).to_be_in_viewport()
    page.get_by_label("num1").fill("1")
    page.get_by_label("num2").fill("2")
    expect(page.locator("[id='arg.num1-error']")).to_have_count(0)
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_text("No run was started.")).to_be_visible()
    page.wait_for_load_state()
    page.get_by_role("link", name="Edit", exact=True).click()
    # The line is read back as its choices.
    expect(page.locator("#build-at")).to_have_value("02:30")
    choices = {"time": "minutes", "step": "20", "from": "9", "to": "17", "days": "working", "month": "*"}
    for name, value in choices.items():
        page.locator(f"#build-{name}").select_option(value)
    expect(page.locator("#crontab")).to_have_value("*/20 9-16 * * mon-fri")
    expect(summary).to_contain_text("Every 20 minutes, from 09:00 to 16:59, Monday to Friday")
    expect(page.locator("#preview")).to_contain_text("Current")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("No run was started")).to_be_visible()
    page.wait_for_load_state()
    page.get_by_role("button", name="Restore version 1").click()
    expect(page.locator(".page-lead").first).to_contain_text("the last Sunday of October at 02:30")


def test_an_edit_shows_old_beside_new_and_then_that_it_is_in_force(
    app: Flask, page: Page, sign_in: SignIn, number: int
) -> None:
    sign_in(page, "scheduler")
    page.goto(f"/schedules/{number}")
    page.locator("#crontab").fill("0 9 * * mon-fri")
    expect(page.locator("#preview")).to_contain_text("Current")
    expect(page.locator("#preview")).to_contain_text("Saving does not start a run")
    page.get_by_role("button", name="Save").click()
    standing = page.locator(f"#in-force-{number}")
    expect(standing).to_contain_text("waiting for beat")
    with app.app_context():
        latest = db.session.execute(sa.select(ScheduleRevision.revision)).scalar_one()
        db.session.add(Beat(id="b", host="alpha", pid=1, leading=True, revision=latest, applied_at=now()))
        db.session.commit()
        db.session.remove()
    expect(standing).to_contain_text("in force on alpha after")


def test_page_reports_a_missing_beat_without_reload(page: Page, sign_in: SignIn, number: int) -> None:
    sign_in(page, "scheduler")
    page.goto(f"/schedules/{number}")
    page.get_by_role("button", name="Disable").click()
    expect(page.locator(f"#in-force-{number}")).to_contain_text("beat does not answer")


def test_the_list_narrows_while_one_types(page: Page, sign_in: SignIn, number: int) -> None:
    sign_in(page, "viewer")
    page.goto("/schedules")
    expect(page.locator(".schedule-name")).to_have_count(4)
    page.get_by_label("Search").fill("solar")
    expect(page.locator(".schedule-name")).to_have_count(1)
    expect(page).to_have_url(re.compile("q=solar"))
    page.get_by_label("Search").fill("zebra")
    expect(page.get_by_text("No matching schedules")).to_be_visible()


def test_what_the_filters_leave_is_exported(page: Page, sign_in: SignIn, number: int) -> None:
    sign_in(page, "viewer")
    page.goto("/schedules")
    page.get_by_label("Search").fill("solar")
    menu = page.get_by_text("Export", exact=True)
    menu.click()
    assert_accessible(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="JSON").click()
    found = json.loads(download.value.path().read_text(encoding="utf-8"))
    assert [one["name"] for one in found["schedules"]] == ["a schedule solar"]
    expect(page.get_by_role("button", name="JSON")).to_be_hidden()
    page.goto(f"/schedules/{number}")
    menu.click()
    assert_accessible(page)
    with page.expect_download() as download:
        page.get_by_role("link", name="Python").click()
    source = download.value.path().read_text(encoding="utf-8")
    assert re.findall(r"^    '(.+)': ", source, re.MULTILINE) == ["a schedule crontab"]
    menu.click()
    page.keyboard.press("Escape")
    expect(page.get_by_role("link", name="Python")).to_be_hidden()


def test_all_of_it_works_without_javascript(new_page: NewPage, sign_in: SignIn) -> None:
    page = new_page(java_script_enabled=False, viewport=PHONE)
    sign_in(page, "scheduler")
    page.goto("/schedules/new")
    page.get_by_label("Name").fill("By hand")
    page.get_by_label("Task").select_option("add")
    page.get_by_role("button", name="Use this task").click()
    page.get_by_label("num1").fill("1")
    page.get_by_label("num2").fill("2")
    page.get_by_text("Crontab builder").click()
    page.get_by_label("At", exact=True).first.fill("09:15")
    page.get_by_role("button", name="Apply to crontab").click()
    expect(page.locator("#crontab")).to_have_value("15 9 * * *")
    page.get_by_text("One time", exact=True).click()
    expect(page.locator("#crontab")).to_be_hidden()
    page.locator("#at").fill("2099-05-05T10:30")
    page.get_by_role("button", name="Preview").click()
    expect(page.locator(".due-local")).to_have_count(1)
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("By hand")
    page.get_by_role("button", name="Disable").click()
    expect(page.get_by_text("disabled", exact=True)).to_be_visible()
    page.locator("summary", has_text="Delete").click()
    page.get_by_role("button", name="Delete schedule").click()
    expect(page.get_by_text("Its past runs are kept.").last).to_be_visible()
    expect(page.get_by_text("No schedules yet")).to_be_visible()


def test_what_asks_before_it_acts_is_accessible(page: Page, sign_in: SignIn, number: int) -> None:
    sign_in(page, "admin")
    page.goto("/schedules")
    page.get_by_label("All schedules").check()
    page.locator("#bulk").get_by_role("button", name="Pause").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Pause 4 schedules?")
    assert_accessible(page)
    page.get_by_label("Reason").fill("maintenance")
    page.get_by_role("button", name="Pause 4 schedules").click()
    expect(page.get_by_text("4 schedules paused.")).to_be_visible()
    page.goto(f"/schedules/{number}")
    page.locator("summary", has_text="Run now").click()
    page.get_by_role("button", name="Dry run").click()
    expect(page.get_by_text("It would wait")).to_be_visible()
    assert_accessible(page)


def test_two_who_edit_at_once(new_page: NewPage, sign_in: SignIn, number: int, complaints: list[str]) -> None:
    mine, theirs = new_page(), new_page()
    for page, role in ((mine, "admin"), (theirs, "scheduler")):
        sign_in(page, role)
        page.goto(f"/schedules/{number}")
    theirs.locator("#crontab").fill("0 6 * * *")
    theirs.get_by_role("button", name="Save").click()
    expect(theirs.get_by_text("No run was started.")).to_be_visible()
    mine.locator("#crontab").fill("0 7 * * *")
    mine.get_by_role("button", name="Save").click()
    expect(mine.get_by_role("heading", level=1)).to_contain_text("has a newer version")
    assert_accessible(mine)
    mine.get_by_role("button", name="Save").click()
    expect(mine.get_by_text("No run was started.")).to_be_visible()
    # The browser notes the status 409.
    assert [text for text in complaints if "409" not in text] == []
    complaints.clear()


def test_everything_is_paused_for_tomorrows_maintenance(page: Page, sign_in: SignIn, number: int) -> None:
    assert number
    sign_in(page, "admin")
    page.goto("/schedules")
    page.get_by_role("link", name="Pauses", exact=True).click()
    page.get_by_label("Reason").fill("the disks are exchanged")
    page.get_by_label("Until").fill((now() + timedelta(days=2)).strftime("%Y-%m-%dT%H:%M"))
    page.get_by_label("Runs due during the pause").select_option("run once")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("All schedules: 3 schedules paused.")).to_be_visible()
    page.goto("/runs")
    banner = page.locator("#banner").get_by_text("All schedules are paused: the disks are exchanged.")
    left = banner.locator("time[data-countdown]")
    shown = left.inner_text()
    assert re.fullmatch(r"1 d \d+:\d\d:\d\d", shown)
    expect(left).not_to_have_text(shown)
    banner.get_by_role("link").click()
    expect(page.get_by_label("Run each schedule once")).to_be_checked()
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_text("Runs that came due during the pause start now.")).to_be_visible()
    expect(page.get_by_text("All schedules are paused")).to_have_count(0)
