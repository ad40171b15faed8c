"""Icons and moments, drawn in Python because a list shows hundreds of them. Everything else is a macro.

As macros they would cost the list of 40 schedules (158 icons) 1.9 ms on top of 15 ms of CPU, and that of 50 runs (61
moments) 0.6 ms on top of 9 ms. Templates import them from `_macros/icons.html` and `_macros/data.html`, like the macros
there.
"""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from types import SimpleNamespace

from flask import Flask
from markupsafe import Markup

from webapp.database import engine
from webapp.web import formats
from webapp.web.templating import iso, reader_zone, static_url

SPRITE = "vendor/tabler-icons@3.51.0/icons.svg"


def init_components(app: Flask) -> None:
    """Make the components available to templates, as `components`."""
    app.jinja_env.globals["components"] = SimpleNamespace(icon=icon, when=when, sprite=SPRITE)


def icon(name: str, label: str | None = None, **more: str) -> Markup:
    """An icon from the sprite; decorative unless it has a label. `class` adds CSS classes."""
    return _icon(name, label, more.get("class", ""), static_url(SPRITE))


# The sprite's URL is a parameter because it begins with the application's root.
@lru_cache(maxsize=1024)
def _icon(name: str, label: str | None, classes: str, sprite: str) -> Markup:
    role = Markup('role="img" aria-label="{}"').format(label) if label else Markup('aria-hidden="true"')
    text = Markup('<svg class="{}" width="20" height="20" {}><use href="{}#{}"></use></svg>')
    return text.format(f"icon {classes}".strip(), role, sprite, name)


def when(moment: datetime | None, empty: str = formats.NOTHING) -> Markup | str:
    """A moment as relative time, with the exact time on hover; beatdesk.js updates it while the page stays open."""
    if not moment:
        return empty
    exact, ago = formats.exact(moment, reader_zone()), formats.ago(moment, engine.now())
    # None of the parts comes from outside or needs escaping.
    return Markup(f'<time datetime="{iso(moment)}" title="{exact}" data-ago>{ago}</time>')  # noqa: S704
