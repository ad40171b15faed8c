"""The site's own host and path, and redirects that never repeat the host that a request names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from flask import Flask, Response, current_app, request
from werkzeug.exceptions import BadRequest

from webapp.config import ConfigError, Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

# Endpoints that monitors query at the address of one machine behind the proxy; their responses contain no links.
FOR_MONITORS = frozenset({"overview.answers", "overview.ready", "metrics.show"})
REDIRECTS = ("Location", "HX-Redirect")


class BelowRoot:
    """Serves an application below a path, whether or not the proxy in front strips that path."""

    def __init__(self, application: WSGIApplication, root: str) -> None:
        self._application = application
        self._root = root

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Respond. A SCRIPT_NAME that the server took from its environment or from a header is ignored."""
        path = environ["PATH_INFO"]
        if path == self._root or path.startswith(f"{self._root}/"):
            environ["PATH_INFO"] = path[len(self._root) :] or "/"
        environ["SCRIPT_NAME"] = self._root
        return self._application(environ, start_response)


def init_hosts(app: Flask, settings: Settings) -> None:
    """Refuse requests for other hosts than PUBLIC_URL's if that is set, and make every redirect relative.

    Werkzeug's own redirects, which add a missing slash, repeat the `Host` or `X-Forwarded-Host` of the request. Raises
    ConfigError if PUBLIC_URL's path begins like one of our pages, since a proxy may or may not strip that path.
    """
    own = urlsplit(settings.public_url).hostname
    beginning = settings.root.split("/")[:2]
    if settings.root and any(rule.rule.split("/")[:2] == beginning for rule in app.url_map.iter_rules()):
        raise ConfigError(f"PUBLIC_URL must not have the path {settings.root}: Beatdesk's own pages start with it.")

    def refuse_other_hosts() -> None:
        if settings.check_host and request.endpoint not in FOR_MONITORS and _hostname(request.host) != own:
            raise BadRequest(
                f"This site is {settings.public_url}. Open that address. If you did, the proxy in front of it must "
                "pass on the Host header."
            )

    # Before the functions of the extensions.
    app.before_request_funcs[None].insert(0, refuse_other_hosts)

    @app.after_request
    def redirect_relatively(response: Response) -> Response:
        for name in REDIRECTS:
            if name in response.headers:
                before = response.headers[name]
                response.headers[name] = _relative(before)
                if response.headers[name] != before:
                    # The body repeats the URL as a link.
                    response.set_data(b"")
        return response


def current_settings() -> Settings:
    """The settings of the current application."""
    settings: Settings = current_app.extensions["settings"]
    return settings


def root() -> str:
    """The path of PUBLIC_URL, with which every URL path of ours begins: f"{root()}/runs". Templates have it too."""
    return current_settings().root


def this_page() -> str:
    """The URL to return to after a small form. The response to a POST has no URL of its own: the front page then."""
    return root() + request.full_path.rstrip("?") if request.method in ("GET", "HEAD") else f"{root()}/"


def set_cookie(response: Response, name: str, value: str, max_age: int) -> None:
    """Set a cookie for `max_age` seconds, for this application only and inaccessible to scripts."""
    secure = current_app.config["SESSION_COOKIE_SECURE"]
    path = root() or "/"
    response.set_cookie(name, value, max_age=max_age, path=path, secure=secure, httponly=True, samesite="Lax")


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
