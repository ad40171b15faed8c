"""Which names this site answers to, and redirects that repeat none of them."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

from flask import Flask, Response, request
from werkzeug.exceptions import BadRequest

from webapp.config import Settings

# What monitors ask, by the address of one machine behind the proxy; nothing in the answers is a link.
FOR_MONITORS = frozenset({"overview.health", "overview.ready", "metrics.show"})
REDIRECTS = ("Location", "HX-Redirect")


def init_hosts(app: Flask, settings: Settings) -> None:
    """Refuse requests for other hosts than PUBLIC_URL's where that is set; make every redirect relative.

    The routing's own redirects, to a path with its slash, repeat the `Host` or `X-Forwarded-Host` of the request.
    """
    own = urlsplit(settings.public_url).hostname

    def refuse_other_hosts() -> None:
        if settings.check_host and request.endpoint not in FOR_MONITORS and _hostname(request.host) != own:
            raise BadRequest(
                f"This site is {settings.public_url}. Open that address. If you did, the proxy in front of it has to "
                "pass the Host header on."
            )

    # Before what the extensions look at.
    app.before_request_funcs[None].insert(0, refuse_other_hosts)

    @app.after_request
    def redirect_relatively(response: Response) -> Response:
        for name in REDIRECTS:
            if name in response.headers:
                before = response.headers[name]
                response.headers[name] = _relative(before)
                if response.headers[name] != before:
                    # It repeats the address as a link.
                    response.set_data(b"")
        return response


def _hostname(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _relative(location: str) -> str:
    parts = urlsplit(location)
    # Browsers read two slashes, or one and a backslash, as the beginning of a host.
    path = "/" + parts.path.lstrip("/\\")
    return urlunsplit(("", "", path, parts.query, parts.fragment))
