"""The headers that every answer carries."""

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
    """The outermost WSGI application: adds the headers to what Flask answers, and to what never reaches Flask."""

    def __init__(self, application: WSGIApplication, *, secure: bool) -> None:
        self._application = application
        self._added = [*SECURITY, TLS_ONLY] if secure else list(SECURITY)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer; a header that the answer has already stays as it is."""

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], object]:
            there = {name.lower() for name, _ in headers}
            added = [header for header in self._added if header[0].lower() not in there]
            return start_response(status, [*headers, *added], exc_info)

        return self._application(environ, start)


def init_headers(app: Flask, settings: Settings) -> None:
    """Add the security headers to everything, static files and errors included, and say how pages may be kept."""
    # That a host and those below it are reached by TLS only is for whoever has the host; with a path it is not ours.
    secure = settings.secure_cookies and not settings.root
    app.wsgi_app = SecurityHeaders(app.wsgi_app, secure=secure)  # type: ignore[method-assign]

    @app.after_request
    def keep_private(response: Response) -> Response:
        # Pages show what only this person may see; no cache between us may keep them.
        response.headers.setdefault("Cache-Control", "no-store")
        # The same address answers as page, fragment and JSON.
        response.vary.update(("Accept", "Cookie", "HX-Request"))
        return response
