"""What a page must be to everybody: nothing for axe to find in either theme, and no scrolling sideways on a phone."""

from __future__ import annotations

from typing import Any

from axe_playwright_python.base import AXE_SCRIPT, AxeResults
from playwright.sync_api import Page, ViewportSize

PHONE: ViewportSize = {"width": 375, "height": 700}
DESK: ViewportSize = {"width": 1280, "height": 800}
TOO_WIDE = "() => document.documentElement.scrollWidth > document.documentElement.clientWidth"
# Colours that are still turning into those of the other theme would be judged. (To wait for them can last for ever.)
STILL = """() => {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync("*, *::before, *::after { transition: none !important; }");
  document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
}"""
# Only what is wrong comes back: all that was looked at is megabytes.
JUDGE = "([where, options]) => axe.run(where, options).then(({violations}) => ({violations}))"
EVERYTHING: dict[str, Any] = {"resultTypes": ["violations"]}
# A theme changes colours and nothing else; the other rules would read the same document again.
COLOURS = EVERYTHING | {"runOnly": ["color-contrast", "link-in-text-block"]}


def assert_accessible(page: Page, where: str = "html", sizes: tuple[ViewportSize, ...] = (PHONE, DESK)) -> None:
    """Nothing for axe to find in that part of the page, in either theme and at each size; no scrolling sideways."""
    page.evaluate(STILL)
    page.evaluate(f"typeof axe === 'undefined' && (() => {{ {AXE_SCRIPT} }})()")
    for scheme, options in (("light", EVERYTHING), ("dark", COLOURS)):
        page.emulate_media(color_scheme="light" if scheme == "light" else "dark")
        for size in sizes:
            page.set_viewport_size(size)
            found = AxeResults(page.evaluate(JUDGE, [where, options]))
            assert found.violations_count == 0, f"{page.url}, {scheme}, {size['width']}: {found.generate_report()}"
            assert not page.evaluate(TOO_WIDE), f"{page.url} scrolls sideways at {size['width']}"
