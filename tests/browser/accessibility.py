"""Accessibility of a page: no findings of axe in either theme, and no sideways scrolling on a phone."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit
from zlib import crc32

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
# What names one row of many in an address.
ROWS = re.compile(r"[0-9a-f-]*[0-9][0-9a-f-]*")


def assert_accessible(page: Page, where: str = "html", sizes: tuple[ViewportSize, ...] = (PHONE, DESK)) -> None:
    """Nothing for axe to find in that part of the page, in either theme; no scrolling sideways at either size.

    One page is judged in light on a desk and in dark on a phone, another one the other way round, by its address. What
    all pages share is seen in each theme at each size so, for half the time.
    """
    # Style sheets may still be on their way when what was waited for is there.
    page.wait_for_load_state()
    page.evaluate(STILL)
    page.evaluate(f"typeof axe === 'undefined' && (() => {{ {AXE_SCRIPT} }})()")
    if crc32(ROWS.sub("", urlsplit(page.url).path).encode()) % 2:
        sizes = sizes[::-1]
    for scheme, size in (("light", sizes[0]), ("dark", sizes[-1])):
        page.emulate_media(color_scheme="light" if scheme == "light" else "dark")
        page.set_viewport_size(size)
        found = AxeResults(page.evaluate(JUDGE, [where, EVERYTHING]))
        assert found.violations_count == 0, f"{page.url}, {scheme}, {size['width']}: {found.generate_report()}"
        assert not page.evaluate(TOO_WIDE), f"{page.url} scrolls sideways at {size['width']}"
