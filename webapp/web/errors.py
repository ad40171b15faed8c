"""Domain exceptions, and the one place where they become HTTP."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import sqlalchemy as sa
from flask import Flask, Response, current_app, make_response, request
from flask_wtf.csrf import CSRFError
from werkzeug.exceptions import HTTPException

from webapp.web.rendering import json_error, render, wants_fragment, wants_json

logger = logging.getLogger(__name__)


class DomainError(Exception):
    """The base of all refusals of a request. `status` is the HTTP status of the response."""

    status = 400


class NotFound(DomainError):
    """What was asked for does not exist."""

    status = 404


class Forbidden(DomainError):
    """Not allowed for this person."""

    status = 403


class Conflict(DomainError):
    """Another person changed it meanwhile, or its state does not allow the action."""

    status = 409


class Invalid(DomainError):
    """Invalid values. `fields` maps each field at fault to a sentence; "" is the whole form."""

    status = 422

    def __init__(self, fields: Mapping[str, str]) -> None:
        self.fields = dict(fields)
        super().__init__("; ".join(f"{name}: {text}" if name else text for name, text in self.fields.items()))


TITLES = {
    400: "Bad request",
    401: "Sign in first",
    403: "You do not have permission",
    404: "Page not found",
    405: "Not allowed at this address",
    406: "Not a page",
    409: "This has changed since you opened it",
    413: "Too large",
    422: "Some values are not valid",
    429: "Too many requests",
    500: "Something went wrong on our side",
    503: "The database does not answer",
}

ADVICE = {
    400: "Go back, reload the page and try again.",
    401: "Then open this page again.",
    403: "If you need access, ask an admin.",
    404: "The address may be wrong, or the page was deleted.",
    405: "Go back and use the buttons on the page.",
    406: "Open the page that this address belongs to.",
    409: "Reload the page to see the current state.",
    413: "Send less data.",
    422: "Go back, correct the values and try again.",
    429: "Nothing was changed.",
    500: "Try again. If it happens again, tell an admin the time of the error.",
    503: "Try again in a moment.",
}


def register_errors(app: Flask) -> None:
    """Make every error a page, a fragment or JSON, whichever was asked for."""
    app.register_error_handler(DomainError, _domain)
    app.register_error_handler(CSRFError, _csrf)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(sa.exc.OperationalError, _database)
    app.register_error_handler(sa.exc.TimeoutError, _database)
    app.register_error_handler(RecursionError, _too_deep)
    app.register_error_handler(Exception, _unexpected)


def error_response(status: int, message: str, fields: Mapping[str, str] | None = None) -> Response:
    """An error as a page, a fragment or JSON."""
    title = TITLES.get(status, "Something went wrong")
    if wants_json() or request.path.startswith("/api/"):
        return json_error(status, message or title, **({"fields": dict(fields)} if fields else {}))
    if status == 503:
        # Most likely the database is away, so that the signed-in person cannot be loaded either.
        return _plain(status, title, message)
    try:
        return render(
            "errors/page.html",
            "errors/_fragment.html",
            status=status,
            code=status,
            title=title,
            message=message,
            advice=ADVICE.get(status, ""),
        )
    except Exception:
        logger.exception("the error page for %s at %s cannot be rendered", status, request.path)
        return _plain(status, title, message)


def _plain(status: int, title: str, message: str) -> Response:
    """An error shown without the things that a page asks the database for, such as who is signed in."""
    template = "errors/_fragment.html" if wants_fragment() else "errors/plain.html"
    # Not `render_template`: it runs the context processors, and the one of the sign-in loads the user.
    html = current_app.jinja_env.get_template(template).render(
        code=status, title=title, message=message, advice=ADVICE.get(status, "")
    )
    return make_response(html, status)


def _domain(error: DomainError) -> Response:
    return error_response(error.status, str(error), getattr(error, "fields", None))


def _csrf(error: CSRFError) -> Response:
    return error_response(400, error.description or "")


def _http(error: HTTPException) -> Response:
    if error.response is not None:
        return error.response  # type: ignore[return-value]  # a werkzeug response serves as well
    # Werkzeug's own sentences say again what the title and the advice say.
    said = "" if error.description == type(error).description else error.description
    response = error_response(error.code or 500, said or "")
    for name, value in error.get_headers():
        if name.lower() not in ("content-type", "content-length"):
            response.headers[name] = value
    return response


def _database(error: Exception) -> Response:
    logger.error("the database does not answer: %s", error)
    response = error_response(503, "Nothing was changed.")
    response.headers["Retry-After"] = "5"
    return response


def _too_deep(error: RecursionError) -> Response:
    logger.warning("nested too deep at %s: %s", request.path, error)
    return error_response(422, "The value is nested too deep. Nothing was changed.")


def _unexpected(error: Exception) -> Response:
    logger.exception("unexpected error at %s", request.path, exc_info=error)
    return error_response(500, "The error was logged. Nothing was changed unless the page says so.")
