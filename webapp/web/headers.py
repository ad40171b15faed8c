"""The headers of every response: security, caching and what it varies by."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from flask import Flask, Response

from webapp.config import Settings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'self'",
        # Tabler's arrows and check marks are images inside its style sheet.
        "img-src 'self' data:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)


SECURITY = (
    ("Content-Security-Policy", CONTENT_SECURITY_POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Permissions-Policy", "camera=(), geolocation=(), microphone=()"),
)
TLS_ONLY = ("Strict-Transport-Security", "max-age=31536000; includeSubDomains")


class SecurityHeaders:
    """The outermost WSGI application; adds the headers to Flask's responses and to those that never reach Flask."""

    def __init__(self, application: WSGIApplication, *, secure: bool) -> None:
        self._application = application
        self._added = [*SECURITY, TLS_ONLY] if secure else list(SECURITY)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Respond; headers that the response has already are not changed."""

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], object]:
            there = {name.lower() for name, _ in headers}
            added = [header for header in self._added if header[0].lower() not in there]
            return start_response(status, [*headers, *added], exc_info)

        return self._application(environ, start)


def init_headers(app: Flask, settings: Settings) -> None:
    """Add the security headers to every response, static files and errors included, and forbid caching of pages."""
    # Strict-Transport-Security covers a host and its subdomains. Below a path, Beatdesk does not own the host.
    secure = settings.secure_cookies and not settings.root
    app.wsgi_app = SecurityHeaders(app.wsgi_app, secure=secure)  # type: ignore[method-assign]

    @app.after_request
    def keep_private(response: Response) -> Response:
        # Pages show what only this user may see; no cache on the way may store them.
        response.headers.setdefault("Cache-Control", "no-store")
        # One URL responds with a page, a fragment or JSON.
        response.vary.update(("Accept", "Cookie", "HX-Request"))
        return response
