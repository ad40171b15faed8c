"""Who may use which route. A route without a rule answers 500 and fails the tests.

Roles build on each other: an operator is also a viewer, a scheduler also an operator, an admin everything. A member,
who registered, sees only their own things.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Any, TypeVar
from urllib.parse import urlsplit

from flask import Flask, Response, current_app, request, url_for
from flask_security import current_user
from werkzeug.urls import iri_to_uri

from webapp.web.errors import Forbidden, error_response
from webapp.web.hosts import root, this_page
from webapp.web.rendering import see_other, wants_fragment, wants_json

View = TypeVar("View", bound=Callable[..., Any])


class Access(IntEnum):
    """What a route asks for; each includes those below it."""

    PUBLIC = 0
    MEMBER = 1
    VIEWER = 2
    OPERATOR = 3
    SCHEDULER = 4
    ADMIN = 5


ROLES = {
    "member": (Access.MEMBER, "Sees and edits only their own account"),
    "viewer": (Access.VIEWER, "Reads every page"),
    "operator": (Access.OPERATOR, "Launches, retries, cancels and pauses"),
    "scheduler": (Access.SCHEDULER, "Edits schedules"),
    "admin": (Access.ADMIN, "Manages people and settings"),
}

# Routes of the libraries we use; our own carry `@access`.
LIBRARY_ROUTES: dict[str, Access] = {"static": Access.PUBLIC}


def access(
    level: Access, *, also: Callable[[], bool] | None = None, tokens: bool = False, open_json: bool = False
) -> Callable[[View], View]:
    """Say who may use a view: `@access(Access.VIEWER)`, directly below the route.

    `also` tells of the request at hand whether it may pass without that level, by something that only this view takes.
    With `tokens` a program may prove by a bearer token who it acts for; with `open_json` one without a session may send
    JSON without the token of a form (see `webapp.accounts.forgery`).
    """

    def mark(view: View) -> View:
        view.access = level  # type: ignore[attr-defined]  # a function takes attributes
        view.admits = also  # type: ignore[attr-defined]
        view.takes_tokens = tokens  # type: ignore[attr-defined]
        view.open_json = open_json  # type: ignore[attr-defined]
        return view

    return mark


def rule_of(app: Flask, endpoint: str) -> Access | None:
    """The rule of a route, or None when somebody forgot it."""
    if endpoint in LIBRARY_ROUTES:
        return LIBRARY_ROUTES[endpoint]
    return getattr(app.view_functions[endpoint], "access", None)


def level_of(user: Any) -> Access:
    """The highest level that a person's roles give."""
    if not user.is_authenticated or not user.is_active:
        return Access.PUBLIC
    return max((ROLES[role.name][0] for role in user.roles if role.name in ROLES), default=Access.MEMBER)


def may(level: Access) -> bool:
    """Whether who asks has that level; for templates and for what only some may see."""
    return level_of(current_user) >= level


def enforce() -> Response | None:
    """Before each request: refuse, ask to sign in, or let pass."""
    if request.endpoint is None:
        return None
    needed = rule_of(current_app, request.endpoint)
    if needed is None:
        raise RuntimeError(f"route {request.endpoint} has no access rule")
    if needed == Access.PUBLIC or may(needed):
        return None
    admits = getattr(current_app.view_functions[request.endpoint], "admits", None)
    if admits is not None and admits():
        return None
    if current_user.is_authenticated:
        raise Forbidden(f"You need the {needed.name.lower()} role.")
    return _sign_in_first()


def act_as(user: Any) -> None:
    """Let the request be that person's, or nobody's, without a sign-in."""
    manager = current_app.login_manager  # type: ignore[attr-defined]  # Flask-Login puts it there
    manager._update_request_context_with_user(user)  # noqa: SLF001  # it has no public name for a request without session


def _sign_in_first() -> Response:
    if wants_json() or request.path.startswith("/api/"):
        return error_response(401, "Sign in first.")
    if wants_fragment():
        # The page that polls or posts is left for the sign-in page, which leads back to it.
        return see_other(_login_url(request.headers.get("HX-Current-URL", f"{root()}/")))
    return see_other(_login_url(this_page()))


def _login_url(back: str) -> str:
    parts = urlsplit(iri_to_uri(back))
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    return url_for("accounts.login", next=path)
