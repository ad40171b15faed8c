"""The frame in a real browser: both themes, a phone, no JavaScript, the keyboard, the content policy."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from playwright.sync_api import Page, expect

from tests.browser.accessibility import PHONE, TOO_WIDE, assert_accessible
from webapp.database.engine import now
from webapp.web import formats

pytestmark = pytest.mark.browser

NewPage = Callable[..., Page]
SignIn = Callable[[Page, str], None]
BACKGROUND = "() => getComputedStyle(document.body).backgroundColor"


@pytest.mark.parametrize("role", ["admin", "member", None])
def test_pages_are_accessible(page: Page, sign_in: SignIn, role: str | None) -> None:
    if role:
        sign_in(page, role)
    page.goto("/" if role else "/login")
    assert_accessible(page)


def test_an_error_page_is_accessible(page: Page, sign_in: SignIn, complaints: list[str]) -> None:
    sign_in(page, "viewer")
    page.goto("/no-such-page")
    assert_accessible(page)
    assert len(complaints) == 1
    assert "404" in complaints.pop()


def test_theme_follows_the_system_until_chosen_without_javascript(new_page: NewPage, sign_in: SignIn) -> None:
    colours = {}
    for scheme in ("light", "dark"):
        page = new_page(color_scheme=scheme, java_script_enabled=False)
        sign_in(page, "viewer")
        page.goto("/")
        colours[scheme] = page.evaluate(BACKGROUND)
        other = {"light": "Dark", "dark": "Light"}[scheme]
        page.get_by_role("button", name=other).click()
        expect(page.get_by_role("button", name=other)).to_have_attribute("aria-pressed", "true")
        colours[f"chosen {other.lower()}"] = page.evaluate(BACKGROUND)
    assert colours["light"] != colours["dark"]
    assert colours["chosen dark"] == colours["dark"]
    assert colours["chosen light"] == colours["light"]


def test_the_phone_menu_opens_by_keyboard_without_javascript(new_page: NewPage, sign_in: SignIn) -> None:
    page = new_page(viewport=PHONE, java_script_enabled=False)
    sign_in(page, "admin")
    page.goto("/")
    link = page.get_by_role("link", name="Schedules", exact=True)
    expect(link).to_be_hidden()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_in_viewport()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(link).to_be_visible()
    assert not page.evaluate(TOO_WIDE)
    page.keyboard.press("Escape")
    expect(link).to_be_hidden()


def test_sign_out_works_without_javascript(new_page: NewPage, sign_in: SignIn) -> None:
    page = new_page(java_script_enabled=False)
    sign_in(page, "member")
    page.goto("/")
    page.locator(".user-menu summary").click()
    page.get_by_role("button", name="Sign out").click()
    page.goto("/")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_htmx_sends_the_token_that_the_body_carries(page: Page, sign_in: SignIn) -> None:
    sign_in(page, "viewer")
    page.goto("/")
    page.evaluate(
        """() => {
          const button = document.createElement("button");
          button.id = "probe";
          button.setAttribute("hx-post", "/theme");
          button.setAttribute("hx-vals", '{"theme": "dark", "back": "/"}');
          document.querySelector("main").append(button);
          htmx.process(button);
        }"""
    )
    page.locator("#probe").click()
    expect(page.locator("html")).to_have_attribute("data-bs-theme", "dark")


def test_the_browser_words_times_as_the_server_does(page: Page) -> None:
    page.goto("/login")
    # Half a unit away from where the wording changes, so that a second between both clocks' readings does not matter.
    offsets = [95, 3630, 7300, 50 * 3600, 100 * 86400 + 60, 900 * 86400 + 60, -95, -3 * 86400 - 60]
    said = now()
    for number, offset in enumerate(offsets):
        page.evaluate(
            """([id, moment]) => {
              const time = document.createElement("time");
              Object.assign(time, {id, dateTime: moment});
              time.dataset.ago = "";
              document.querySelector("main").append(time);
            }""",
            [f"t{number}", (said - timedelta(seconds=offset)).isoformat()],
        )
    for number, offset in enumerate(offsets):
        expect(page.locator(f"#t{number}")).to_have_text(formats.ago(said - timedelta(seconds=offset), said))


def test_motion_stops_for_those_who_ask(new_page: NewPage, sign_in: SignIn) -> None:
    page = new_page(reduced_motion="reduce")
    sign_in(page, "viewer")
    page.goto("/")
    turning = page.locator(".state-active .icon").first
    assert turning.evaluate("element => getComputedStyle(element).animationIterationCount") == "1"
