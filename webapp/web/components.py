"""The smallest parts of pages: drawings, badges and moments. A list shows some hundred, and a macro is slower.

Templates import them from `_macros/icons.html`, `_macros/badges.html` and `_macros/data.html`, like what stands there.
"""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from types import SimpleNamespace

from flask import Flask
from markupsafe import Markup, escape

from webapp.database import engine
from webapp.web import formats
from webapp.web.templating import iso, reader_zone, static_url

SPRITE = "vendor/tabler-icons@3.51.0/icons.svg"
# (the tone, the drawing) of each state.
RUN_LOOKS = {
    "held": ("neutral", "clock-pause"),
    "queued": ("info", "clock"),
    "started": ("active", "loader-2"),
    "retrying": ("warning", "refresh"),
    "succeeded": ("success", "circle-check"),
    "failed": ("danger", "circle-x"),
    "revoked": ("neutral", "ban"),
    "expired": ("neutral", "clock-off"),
    "unconfirmed": ("warning", "eye"),
    "skipped": ("neutral", "player-skip-forward"),
    "missed": ("warning", "calendar-x"),
}
MAIL_LOOKS = {
    "pending": ("info", "clock"),
    "sending": ("active", "send"),
    "sent": ("success", "mail-check"),
    "failed": ("danger", "mail-x"),
    "in doubt": ("warning", "mail-question"),
    "suppressed": ("neutral", "mail-off"),
}
UNKNOWN = ("neutral", "help")


def init_drawing(app: Flask) -> None:
    """Let templates have them."""
    app.jinja_env.globals["drawn"] = SimpleNamespace(
        icon=icon,
        badge=badge,
        run_state=run_state,
        mail_state=mail_state,
        when=when,
        run_looks=RUN_LOOKS,
        sprite=SPRITE,
    )


def icon(name: str, label: str | None = None, **more: str) -> Markup:
    """A drawing from the sprite. Decoration unless it is given a label. `class` adds classes."""
    return _icon(name, label, more.get("class", ""), static_url(SPRITE))


# The address of the sprite begins with the application's root.
@lru_cache(maxsize=1024)
def _icon(name: str, label: str | None, classes: str, sprite: str) -> Markup:
    role = Markup('role="img" aria-label="{}"').format(label) if label else Markup('aria-hidden="true"')
    text = Markup('<svg class="{}" width="20" height="20" {}><use href="{}#{}"></use></svg>')
    return text.format(f"icon {classes}".strip(), role, sprite, name)


def badge(text: object, tone: str = "neutral", picture: str | None = None, title: str | None = None) -> Markup:
    """A word, a drawing and a colour, never the colour alone."""
    more = f' title="{escape(title)}"' if title else ""
    drawing = icon(picture) if picture else ""
    return Markup(f'<span class="state state-{escape(tone)}"{more}>{drawing}{escape(text)}</span>')  # noqa: S704  # what is from outside is escaped


def run_state(state: str, reason: str | None = None) -> Markup:
    """The state of a run; the reason shows on hover."""
    return badge(state, *RUN_LOOKS.get(str(state), UNKNOWN), reason)


def mail_state(state: str, reason: str | None = None) -> Markup:
    """The state of a mail; the reason shows on hover."""
    return badge(state, *MAIL_LOOKS.get(str(state), UNKNOWN), reason)


def when(moment: datetime | None, empty: str = formats.NOTHING) -> Markup | str:
    """How long ago a moment was, exact on hover; beatdesk.js keeps it true while the page stays open."""
    if not moment:
        return empty
    exact, ago = formats.exact(moment, reader_zone()), formats.ago(moment, engine.now())
    # Nothing of it is from outside, nor has it anything to escape.
    return Markup(f'<time datetime="{iso(moment)}" title="{exact}" data-ago>{ago}</time>')  # noqa: S704
