"""Light, dark, or as the system has it: remembered in a cookie, so that the first byte of a page already knows."""

from __future__ import annotations

from flask import Blueprint, Response, request

from webapp.web.access import Permission, access
from webapp.web.errors import Invalid
from webapp.web.hosts import root, set_cookie
from webapp.web.rendering import see_other
from webapp.web.templating import THEME_COOKIE, THEMES

blueprint = Blueprint("theme", __name__)

A_YEAR = 365 * 86400


@blueprint.post("/theme")
@access(Permission.PUBLIC)
def choose_theme() -> Response:
    """Keep the choice and go back to the page it was made on."""
    chosen = request.form.get("theme", "")
    if chosen not in THEMES:
        raise Invalid({"theme": f"Choose one of {', '.join(THEMES)}."})
    response = see_other(own_path(request.form.get("back", "")))
    set_cookie(response, THEME_COOKIE, chosen, A_YEAR)
    return response


def own_path(path: str) -> str:
    """The path when it is one of this site, else the front page's.

    Browsers read a backslash as a slash and drop line breaks and tabs, so either could hide another host.
    """
    harmless = path.isprintable() and "\\" not in path
    front = f"{root()}/"
    return path if harmless and path.startswith(front) and not path.startswith("//") else front
