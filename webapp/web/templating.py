"""Filters and globals of templates: moments, durations, JSON, static URLs, permissions, theme and time zone."""

from __future__ import annotations

import hashlib
from datetime import datetime
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

from flask import Flask, current_app, g, has_request_context, request, url_for
from flask_security import current_user
from jinja2.filters import do_urlencode

from beatdesk.encoding import encodable
from beatdesk.secrecy.masking import masked
from webapp.database import engine
from webapp.recurrence.zone_search import find_zone
from webapp.task_catalogue.registry import is_unknown
from webapp.web import formats, installed
from webapp.web.access import Permission, may
from webapp.web.hosts import current_settings, this_page
from webapp.web.idempotency import new_key

THEME_COOKIE = "theme"
THEMES = ("auto", "light", "dark")


def init_templating(app: Flask) -> None:
    """Add our filters and names to Jinja."""
    env = app.jinja_env
    env.globals.update(
        root=app.extensions["settings"].root,
        Permission=Permission,
        may=may,
        task_unknown=is_unknown,
        command=installed.command,
        static_url=static_url,
        theme=theme,
        this_page=this_page,
        reader_zone=reader_zone,
        is_current=is_current,
        plural=formats.plural,
        idempotency_key=new_key,
    )
    env.filters.update(
        clock=lambda moment: formats.clock(moment, engine.now(), reader_zone()),
        countdown=lambda moment: formats.countdown(moment, engine.now()),
        moment=_exact,
        moment_after=lambda moment, former: formats.exact_after(moment, former, reader_zone()),
        iso=iso,
        duration=formats.duration,
        masked=masked,
        pretty_json=formats.pretty_json,
        plural=formats.plural,
        idempotency_key=new_key,
        urlencode=_urlencode,
    )
    env.trim_blocks = True
    env.lstrip_blocks = True


def static_url(path: str) -> str:
    """The URL of a file of `static/`, with a hash of its content, so that browsers may cache it for a year.

    Vendored files have their version in their path and need none. Raises FileNotFoundError for a misspelt path.
    """
    made: dict[str, str] = g.setdefault("static_urls", {})
    if path not in made:
        # A list shows the same few icons hundreds of times.
        file = Path(str(current_app.static_folder)) / path
        made[path] = url_for("static", filename=path, v=None if path.startswith("vendor/") else _content_hash(file))
    return made[path]


@cache
def _content_hash(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:12]


def theme() -> str:
    """The theme that this browser chose: "auto" (follows the system), "light" or "dark"."""
    chosen = request.cookies.get(THEME_COOKIE, "auto") if has_request_context() else "auto"
    return chosen if chosen in THEMES else "auto"


def is_current(address: str) -> bool:
    """Whether the current page is at or below a path. No page counts as below the front page."""
    shown = request.script_root + request.path
    return shown == address or shown.startswith(f"{address}/")


def reader_zone() -> ZoneInfo:
    """The time zone in which the current user sees moments: their own, else the setting TIMEZONE."""
    # Looked up once in each request: a list of runs needs it a hundred times.
    if "reader_zone" not in g:
        name = has_request_context() and current_user.is_authenticated and find_zone(current_user.timezone)
        g.reader_zone = ZoneInfo(name) if name else current_settings().zone
    zone: ZoneInfo = g.reader_zone
    return zone


def _exact(moment: datetime | None, zone: ZoneInfo | str | None = None) -> str:
    if isinstance(zone, str):
        zone = ZoneInfo(zone)
    return formats.exact(moment, zone or reader_zone())


def _urlencode(text: str) -> str:
    """Jinja's filter, which fails for a half surrogate, with such text escaped first."""
    return do_urlencode(encodable(text))


def iso(moment: datetime) -> str:
    """A moment for machines: ISO 8601, to the millisecond."""
    return moment.isoformat(timespec="milliseconds")
