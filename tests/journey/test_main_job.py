"""The main job from end to end: everything as `make run` starts it, seen through a browser."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Page, expect

from tests.browser.accessibility import assert_accessible
from tests.journey.conftest import Beatdesk
from tests.servers import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.browser]

KATHMANDU = ZoneInfo("Asia/Kathmandu")
MAYA = "maya@example.com"
PASSWORD = "seven brown bicycles"
# Seconds that opening, filling in and saving the form may take on a busy machine.
TIME_TO_EDIT = 20


def test_the_main_job_from_registration_to_restart(beatdesk: Beatdesk, person: Page) -> None:
    beatdesk.start()
    register_with_a_birthday_today(beatdesk, person)
    sign_in(beatdesk, person)
    wait_for(lambda: beatdesk.mails() == 1, seconds=20, message="no welcome mail")
    assert subjects(beatdesk, person) == ["Welcome to Beatdesk"]
    person.click("tbody a:has-text('Welcome')")
    assert_accessible(person)
    add_two_and_three(beatdesk, person)
    schedule = birthday_schedule(beatdesk, person)
    fires_at_the_next_minute(beatdesk, person, schedule)
    wait_for(lambda: beatdesk.mails() == 2, seconds=TIME_TO_EDIT + 60 + 60, message="no birthday mail")
    assert len(subjects(beatdesk, person)) == 2
    run = birthday_run(beatdesk, person)
    disable(person, schedule)
    took, left = beatdesk.stop()
    assert left == []
    assert took < 10

    beatdesk.start()
    sign_in(beatdesk, person)
    assert len(subjects(beatdesk, person)) == 2
    person.goto(run)
    expect(person.locator("main")).to_contain_text("send-birthday-emails")
    expect(person.locator("main")).to_contain_text("succeeded")
    person.goto(schedule)
    expect(person.locator("main")).to_contain_text("disabled")


def sign_in(beatdesk: Beatdesk, page: Page) -> None:
    page.goto(f"{beatdesk.url}/login")
    if page.locator("[name=password]").count():
        page.fill("main [name=email]", beatdesk.email)
        page.fill("main [name=password]", beatdesk.password)
        page.click("main form[action='/login'] button[type=submit]")
        page.wait_for_url(f"{beatdesk.url}/")


def register_with_a_birthday_today(beatdesk: Beatdesk, page: Page) -> None:
    today = datetime.now(KATHMANDU).date()
    page.goto(f"{beatdesk.url}/register")
    page.fill("[name=name]", "Maya Gurung")
    page.fill("[name=email]", MAYA)
    page.fill("[name=password]", PASSWORD)
    page.fill("[name=birthday]", today.replace(year=1990 if f"{today:%m%d}" != "0229" else 1988).isoformat())
    page.locator("main [name=timezone]").fill("Asia/Kathmandu")
    page.click("main form[action='/register'] button[type=submit]")
    page.wait_for_url("**/register/done")


def subjects(beatdesk: Beatdesk, page: Page) -> list[str]:
    page.goto(f"{beatdesk.url}/mail/mailbox")
    return page.locator("tbody tr td:first-child").all_inner_texts()


def add_two_and_three(beatdesk: Beatdesk, page: Page) -> None:
    page.goto(f"{beatdesk.url}/add-numbers/")
    page.fill("[name=num1]", "2")
    page.fill("[name=num2]", "3")
    page.click("main form[action='/add-numbers/'] button[type=submit]")
    expect(page.locator(".sum-result")).to_contain_text("5")
    expect(page.locator(".sum-result")).to_contain_text("succeeded")


def birthday_schedule(beatdesk: Beatdesk, page: Page) -> str:
    """The address of the schedule that the code defines, found in the list."""
    page.goto(f"{beatdesk.url}/schedules")
    page.click("main a:has-text('send-birthday-emails')")
    expect(page.locator("main")).to_contain_text("08:00")
    expect(page.locator("main")).to_contain_text("Asia/Kathmandu")
    return page.url


def fires_at_the_next_minute(beatdesk: Beatdesk, page: Page, schedule: str) -> None:
    """Edit the schedule so that it fires at the next minute; the page says that it is in force.

    Not at a minute that begins before the edit can be saved: its time would have passed, and the next one is tomorrow.
    """
    at = datetime.now(KATHMANDU) + timedelta(seconds=60 + TIME_TO_EDIT)
    page.goto(schedule)
    page.fill("[name=crontab]", f"{at.minute} {at.hour} * * *")
    page.click("main form.editor button[type=submit].btn-primary")
    expect(page.locator("main")).to_contain_text("in force on")


def birthday_run(beatdesk: Beatdesk, page: Page) -> str:
    """The address of the run that the schedule caused, once it is recorded as succeeded."""

    def found() -> bool:
        page.goto(f"{beatdesk.url}/runs?q=task:people.send_birthday_emails")
        return page.locator("tbody tr", has_text="succeeded").count() == 1

    wait_for(found, seconds=20, message="the run was not recorded")
    page.locator("tbody tr a[href^='/runs/']").first.click()
    page.wait_for_url("**/runs/*-*")
    expect(page.locator("main")).to_contain_text("send-birthday-emails")
    return page.url


def disable(page: Page, schedule: str) -> None:
    page.goto(schedule)
    page.locator("main form[action$='/disable'] button").first.click()
    expect(page.locator("main")).to_contain_text("disabled")
