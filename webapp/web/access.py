"""Permissions, the roles that grant them, and the check of each route. A route without a rule answers 500.

Views and templates ask for a permission by name, with the subject if there is one. `ROLES` defines which roles grant a
permission, `covers` for which subjects it is valid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

from flask import Flask, Response, current_app, request, url_for
from flask_security import current_user
from werkzeug.urls import iri_to_uri

from webapp.task_catalogue.registry import is_own
from webapp.web.errors import Forbidden, error_response
from webapp.web.hosts import root, this_page
from webapp.web.rendering import see_other, wants_fragment, wants_json

View = TypeVar("View", bound=Callable[..., Any])


class Permission(StrEnum):
    """The permissions that routes, views and templates check by name; `ROLES` grants them."""

    PUBLIC = "public"
    USE_ACCOUNT = "account.use"
    VIEW_STATUS = "status.view"
    VIEW_SCHEDULES = "schedules.view"
    PAUSE_SCHEDULES = "schedules.pause"
    EDIT_SCHEDULES = "schedules.edit"
    VIEW_RUNS = "runs.view"
    CONTROL_RUNS = "runs.control"
    EDIT_RETENTION = "runs.retention"
    RUN_TASKS = "tasks.run"
    RUN_OWN_TASKS = "tasks.run_own"
    VIEW_WORKERS = "workers.view"
    VIEW_MAIL = "mail.view"
    SEND_MAIL = "mail.send"
    VIEW_MAILBOX = "mailbox.view"
    MANAGE_PEOPLE = "people.manage"
    VIEW_AUDIT = "audit.view"
    VIEW_METRICS = "metrics.view"


class Subject(NamedTuple):
    """An object named by kind and key, as in a URL (`schedule`, 7), for a permission check without its row."""

    kind: str
    key: object
    task: str = ""


_MEMBER = frozenset({Permission.PUBLIC, Permission.USE_ACCOUNT})
_VIEWER = _MEMBER | {
    Permission.VIEW_STATUS,
    Permission.VIEW_SCHEDULES,
    Permission.VIEW_RUNS,
    Permission.VIEW_WORKERS,
    Permission.VIEW_MAIL,
}
_OPERATOR = _VIEWER | {
    Permission.PAUSE_SCHEDULES,
    Permission.CONTROL_RUNS,
    Permission.RUN_TASKS,
    Permission.SEND_MAIL,
}

# Each role's permissions and description, weaker roles first. A role that is added here can be given to people.
ROLES: dict[str, tuple[frozenset[Permission], str]] = {
    "member": (_MEMBER, "Sees and edits only their own account"),
    "viewer": (_VIEWER, "Reads every page"),
    "operator": (_OPERATOR, "Launches, retries, cancels and pauses"),
    "scheduler": (_OPERATOR | {Permission.EDIT_SCHEDULES}, "Edits schedules"),
    "admin": (frozenset(Permission), "Manages people and settings"),
}

# These permissions depend on the task: for Beatdesk's own tasks, `RUN_OWN_TASKS` is needed as well.
_BY_TASK = frozenset({Permission.RUN_TASKS, Permission.EDIT_SCHEDULES})

# Routes of the libraries we use; our own carry `@access`.
LIBRARY_ROUTES = {"static": Permission.PUBLIC}


def access(
    permission: Permission, *, also: Callable[[], bool] | None = None, tokens: bool = False, open_json: bool = False
) -> Callable[[View], View]:
    """A decorator that declares the permission a view needs: `@access(Permission.VIEW_RUNS)`, directly below the route.

    `also` may let a request pass without the permission, for credentials that only this view accepts. With `tokens` the
    view accepts bearer tokens; with `open_json` it accepts JSON without a session and without a CSRF token (see
    `webapp.accounts.forgery`).
    """

    def mark(view: View) -> View:
        view.access = permission  # type: ignore[attr-defined]  # a function takes attributes
        view.admits = also  # type: ignore[attr-defined]
        view.takes_tokens = tokens  # type: ignore[attr-defined]
        view.open_json = open_json  # type: ignore[attr-defined]
        return view

    return mark


def rule_of(app: Flask, endpoint: str) -> Permission | None:
    """The permission that a route needs; None if it has no rule."""
    if endpoint in LIBRARY_ROUTES:
        return LIBRARY_ROUTES[endpoint]
    return getattr(app.view_functions[endpoint], "access", None)


def may(permission: Permission, subject: object = None) -> bool:
    """Whether the signed-in user has a permission, for a subject if one is given.

    `subject` is a `Subject`, or the row of a schedule or a run.
    """
    return has(current_user, permission) and covers(current_user, permission, subject)


def has(user: Any, permission: Permission) -> bool:
    """Whether one of the user's roles grants a permission. A user without a role counts as a member."""
    if not user.is_authenticated or not user.is_active:
        return permission is Permission.PUBLIC
    return permission in _MEMBER or granted(permission, (role.name for role in user.roles))


def granted(permission: Permission, roles: Iterable[str]) -> bool:
    """Whether one of these roles grants a permission; an unknown role grants none."""
    return any(permission in ROLES[name][0] for name in roles if name in ROLES)


def covers(user: Any, permission: Permission, subject: object) -> bool:
    """Whether a permission that this user has is valid for a subject. Checked for the subject in each request's URL."""
    task = getattr(subject, "task", "")
    return not task or permission not in _BY_TASK or not is_own(task) or has(user, Permission.RUN_OWN_TASKS)


def enforce() -> Response | None:
    """Check each request before its view: let it pass, refuse it, or redirect to the sign-in page."""
    if request.endpoint is None:
        return None
    needed = rule_of(current_app, request.endpoint)
    if needed is None:
        raise RuntimeError(f"route {request.endpoint} has no access rule")
    if needed is Permission.PUBLIC or may(needed, _subject()):
        return None
    admits = getattr(current_app.view_functions[request.endpoint], "admits", None)
    if admits is not None and admits():
        return None
    if current_user.is_authenticated:
        role = next(name for name, (permissions, _) in ROLES.items() if needed in permissions)
        raise Forbidden(f"You need the {role} role.")
    return _sign_in_first()


def _subject() -> Subject | None:
    """The subject in the request's URL: the schedule for `/schedules/<int:schedule_id>/run`."""
    ids = ((name[:-3], key) for name, key in (request.view_args or {}).items() if name.endswith("_id"))
    return next((Subject(kind, key) for kind, key in ids), None)


def act_as(user: Any) -> None:
    """Make this user the current one for this request only, without a session; None for an anonymous request."""
    manager = current_app.login_manager  # type: ignore[attr-defined]  # Flask-Login puts it there
    manager._update_request_context_with_user(user)  # noqa: SLF001  # it has no public name for a request without session


def _sign_in_first() -> Response:
    if wants_json() or request.path.startswith("/api/"):
        return error_response(401, "Sign in first.")
    if wants_fragment():
        # The page that polls or posts is replaced by the sign-in page, which leads back to it.
        return see_other(_login_url(request.headers.get("HX-Current-URL", f"{root()}/")))
    return see_other(_login_url(this_page()))


def _login_url(back: str) -> str:
    parts = urlsplit(iri_to_uri(back))
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    return url_for("accounts.login", next=path)
