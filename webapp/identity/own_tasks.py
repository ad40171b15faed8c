"""Access to Beatdesk's own tasks, which only admins may run and schedule (`webapp.web.access.covers`).

It is checked where a person launches or retries a run, and where they save a schedule; not for the command line, nor
for runs that the application creates itself, such as the one that sends the welcome mail.
"""

from __future__ import annotations

from flask import g, has_request_context
from flask_security import current_user

from webapp.extensions import db
from webapp.identity import audit
from webapp.web.access import Permission, Subject, covers
from webapp.web.errors import Forbidden


def allowed(task: str) -> bool:
    """Whether the signed-in user may run and schedule this task. Always True outside of a request."""
    return not has_request_context() or covers(current_user, Permission.RUN_TASKS, Subject("task", task, task))


def refusal(task: str) -> str | None:
    """Why the signed-in user may not run or schedule this task; None when they may."""
    return None if allowed(task) else f"Only admins can run or schedule “{task}”: it is one of Beatdesk's own tasks."


def require_form_access(task: str) -> None:
    """Refuse to show a form that the signed-in user could not send. Raises Forbidden."""
    if reason := refusal(task):
        raise Forbidden(reason)


def require(*tasks: str, kind: str = "schedule", number: object = "", name: str = "") -> None:
    """Refuse a user who may not run one of these tasks: roll back, record the refusal in the audit, raise Forbidden.

    `kind`, `number` and `name` are those of the object that was to be changed.
    """
    reasons = [reason for task in tasks if (reason := refusal(task))]
    if reasons:
        db.session.rollback()
        note(reasons[0], kind=kind, number=number, name=name)
        db.session.commit()
        raise Forbidden(reasons[0])


def note(reason: str, *, kind: str, number: object, name: str) -> None:
    """Add the audit row of a refusal to the session; none is added for the response then."""
    g.refusal_noted = True
    audit.record(db.session, f"{kind}.refuse", kind, number, name, None, {"reason": reason})
