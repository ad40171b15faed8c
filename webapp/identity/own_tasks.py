"""Refusals to run or schedule Beatdesk's own tasks, which only admins may (`webapp.web.access.covers`).

They are made where a person launches or retries a run, and where they write a schedule. What the application does by
itself, as sending a mail after a registration, and the command line are not asked.
"""

from __future__ import annotations

from flask import g, has_request_context
from flask_security import current_user

from webapp.extensions import db
from webapp.identity import audit
from webapp.web.access import Permission, Subject, covers
from webapp.web.errors import Forbidden


def allowed(task: str) -> bool:
    """Whether the signed-in person may run and schedule this task; without a request always."""
    return not has_request_context() or covers(current_user, Permission.RUN_TASKS, Subject("task", task, task))


def refusal(task: str) -> str | None:
    """Why the signed-in person may not run or schedule this task, or None when they may."""
    return None if allowed(task) else f"Only admins can run or schedule “{task}”: it is one of Beatdesk's own tasks."


def check(task: str) -> None:
    """Refuse a form for what could not be sent. Raises Forbidden."""
    if reason := refusal(task):
        raise Forbidden(reason)


def require(*tasks: str, kind: str = "schedule", number: object = "", name: str = "") -> None:
    """Refuse a person who may not run these tasks; what was not committed is rolled back, the refusal is audited.

    `kind`, `number` and `name` are the object that was to be changed. Raises Forbidden.
    """
    reasons = [reason for task in tasks if (reason := refusal(task))]
    if reasons:
        db.session.rollback()
        note(reasons[0], kind=kind, number=number, name=name)
        db.session.commit()
        raise Forbidden(reasons[0])


def note(reason: str, *, kind: str, number: object, name: str) -> None:
    """Add the audit's row for a refusal to the session; the response needs no other one."""
    g.refusal_noted = True
    audit.record(db.session, f"{kind}.refuse", kind, number, name, None, {"reason": reason})
