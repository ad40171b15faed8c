"""Whether a request wants a page, a fragment or JSON, and how each is rendered."""

from __future__ import annotations

import hashlib
import re
from typing import Any, cast

from flask import Response, g, jsonify, make_response, redirect, render_template, request
from htmx_flask.requests import HtmxHeaders

from beatdesk.encoding import encodable_bytes

# What differs at each rendering without being a change: the CSRF token and the key of a form, and relative times such
# as "3 s ago", which the browser updates by itself.
_VOLATILE = re.compile(
    r'(?<=name="csrf_token" value=")[^"]*|(?<=name="idempotency_key" value=")[^"]*'
    r"|(?<=data-ago>)[^<]*|(?<=data-countdown>)[^<]*"
)


def wants_fragment() -> bool:
    """Whether htmx requests a part of a page. A boosted link and a history restore want the whole page."""
    htmx = cast("HtmxHeaders", request.htmx)  # type: ignore[attr-defined]  # htmx-flask adds it to the request class
    return bool(htmx) and not htmx.boosted and not htmx.history_restore_request


def wants_json() -> bool:
    """Whether the request sends JSON, prefers it to HTML, or has a bearer token. Browsers do none of these."""
    if request.is_json or "by_token" in g:
        return True
    return request.accept_mimetypes.best_match(["text/html", "application/json"]) == "application/json"


def render(page: str, fragment: str | None = None, /, *, status: int = 200, **context: Any) -> Response:
    """The page, or its fragment if there is one and htmx requests it."""
    template = fragment if fragment is not None and wants_fragment() else page
    return make_response(render_template(template, **context), status)


def render_polled(fragment: str, *, status: int = 200, **context: Any) -> Response:
    """A fragment that is polled: 304 if the client has this content already (header `HX-PTag`)."""
    html = render_template(fragment, **context)
    tag = hashlib.sha256(encodable_bytes(_VOLATILE.sub("", html))).hexdigest()[:32]
    if request.headers.get("HX-PTag") == tag and status == 200:
        response = make_response("", 304)
    else:
        response = make_response(html, status)
    response.headers["HX-PTag"] = tag
    response.headers["Cache-Control"] = "no-store"
    return response


def see_other(location: str) -> Response:
    """The response after an action: a 303 to the page that shows its effect; htmx loads that page by `HX-Redirect`."""
    if wants_fragment():
        response = make_response("", 204)
        response.headers["HX-Redirect"] = location
        return response
    return cast("Response", redirect(location, 303))


def json_error(status: int, error: str, **more: Any) -> Response:
    """An error as JSON: `{"error": text, ...}`."""
    response = jsonify(error=error, **more)
    response.status_code = status
    return response
