"""Protection against cross-site request forgery: unsafe requests need a CSRF token, with two exceptions.

- Requests with a bearer token, which browsers do not send by themselves.
- JSON requests without a session cookie, at a route with `open_json=True`, unless a header shows that another site's
  page sent them. These routes are public.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import current_app, g, request

from webapp.extensions import csrf
from webapp.web.hosts import current_settings

DEFAULT_PORTS = {"http": 80, "https": 443}


def check_form_token() -> None:
    """Check each request before its view. Raises CSRFError if a token is needed and is missing or wrong."""
    if "by_token" not in g and not _is_open_json():
        csrf.protect(apply_exemptions=True)


def _is_open_json() -> bool:
    view = current_app.view_functions.get(request.endpoint or "")
    return (
        getattr(view, "open_json", False)
        and request.mimetype == "application/json"
        and current_app.config["SESSION_COOKIE_NAME"] not in request.cookies
        and request.headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin")
        and _is_own_origin(request.headers.get("Origin"))
    )


def _is_own_origin(given: str | None) -> bool:
    """Whether an `Origin` header is absent, or names this site: PUBLIC_URL, or the host of the request."""
    if given is None:
        return True
    return _origin(given) in (_origin(current_settings().public_url), _origin(request.host_url))


def _origin(url: str) -> tuple[str, str | None, int | None] | None:
    try:
        parts = urlsplit(url)
        return (parts.scheme, parts.hostname, parts.port or DEFAULT_PORTS.get(parts.scheme))
    except ValueError:
        return None
