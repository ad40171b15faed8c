"""Pictures of pages, light and dark, wide and narrow: `python -m tests.browser.screens OUT_DIR PATH…`.

`--role admin` (default), any other role, or `none`; `--database URL` shows a database that is there already instead of
an empty one.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from playwright.sync_api import Browser

from tests import servers
from tests.browser import server
from webapp import create_app

WIDTHS = (1280, 375)
SCHEMES = ("light", "dark")


def main() -> None:
    """Take the pictures that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("paths", nargs="+")
    parser.add_argument("--role", default="admin")
    parser.add_argument("--database")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        url = asked.database or servers.Databases(folder, lambda: "").sqlite()
        (folder / "valkey").mkdir()
        with servers.valkey(folder / "valkey") as valkey_url:
            app = create_app(servers.settings(url, valkey_url, data=folder))
            email = None if asked.role == "none" else server.add_person(app, asked.role)
            with server.serving(app) as address, server.chromium() as browser:
                take(browser, address, email, asked.paths, asked.folder)


def take(browser: Browser, address: str, email: str | None, paths: list[str], folder: Path) -> None:
    """One picture of the whole page for each path, scheme and width; says which pages scroll sideways."""
    for scheme in SCHEMES:
        for width in WIDTHS:
            context = browser.new_context(
                viewport={"width": width, "height": 800},
                color_scheme=scheme,  # type: ignore[arg-type]  # a Literal there
            )
            page = context.new_page()
            page.on("console", lambda message: print(f"  console: {message.text}"))  # noqa: T201  # a command's output
            if email:
                server.sign_in(page, address, email)
            for path in paths:
                page.goto(address + path)
                name = path.strip("/").replace("/", "-").partition("?")[0] or "index"
                file = folder / f"{name}-{scheme}-{width}.png"
                page.screenshot(path=file, full_page=True)
                too_wide = page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
                print(file, "SCROLLS SIDEWAYS" if too_wide else "")  # noqa: T201  # a command's output
            context.close()


if __name__ == "__main__":
    main()
