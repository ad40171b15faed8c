"""Refusals in the audit: wrong passwords and tokens, missing roles, unregistered tasks, invalid arguments.

A repeated refusal gets a row for the 1st, 10th, 100th time and so on, with the count, and one user or network address
at most `MAX_OF_ONE` rows of an action in `WINDOW_SECONDS`, so that an attack cannot fill the table.
"""

from __future__ import annotations

import logging
from typing import Any

import sqlalchemy as sa
from flask import Flask, Response, g, has_request_context, request

from webapp.database.engine import now
from webapp.extensions import db
from webapp.identity import audit, limits
from webapp.web.transactions import write_apart

logger = logging.getLogger(__name__)

WINDOW_SECONDS = 3600
MAX_OF_ONE = 20
MAX_OF_ACTION = 200
MAX_REASON = 500

_ACTIONS = {403: "access.refuse", 429: "access.limit"}


def record(action: str, what: tuple[str, object, str], reason: str = "") -> None:
    """Record a refusal in a transaction of its own; the request's own transaction is rolled back.

    `what` is the object's type, id and name. Never raises: the request is refused even if the audit cannot be written.
    """
    actor = audit.signed_in()
    address = limits.address() if has_request_context() else "command line"
    who = f"user:{actor.id}" if actor else address
    values: dict[str, Any] = {
        "actor_id": actor.id if actor else None,
        "actor": audit.name_of(actor) if actor else "unknown" if has_request_context() else "system",
        "address": address.partition(":")[2],
    }
    db.session.rollback()
    try:
        if count := _count_if_due(action, who, f"{what[0]}:{what[1]}:{what[2]}"):
            after = {"reason": reason[:MAX_REASON], "times": count} if reason else {"times": count}
            row = audit.row(action, what, at=now(), after=after, **values)
            write_apart(lambda connection: connection.execute(row))
    except sa.exc.SQLAlchemyError as error:
        logger.warning("a refusal (%s) could not be written to the audit: %s", action, error)


def init_refusals(app: Flask) -> None:
    """Record every response that refuses access, whichever view or hook made it."""
    app.after_request(_record_response)


def _record_response(response: Response) -> Response:
    action = _ACTIONS.get(response.status_code)
    if action and "refusal_noted" not in g:
        record(action, ("route", request.endpoint or "", f"{request.method} {request.path}"))
    return response


def _count_if_due(action: str, who: str, what: str) -> int:
    """How often this was refused within the window; 0 if no row is due for this time."""
    times = limits.count_event(f"{action}:{who}:{what}", WINDOW_SECONDS)
    if times > 1:
        return times if _is_power_of_ten(times) else 0
    of_one = limits.count_event(f"{action}:{who}", WINDOW_SECONDS)
    of_action = limits.count_event(action, WINDOW_SECONDS) if of_one <= MAX_OF_ONE else 0
    if of_one > MAX_OF_ONE:
        return of_one if _is_power_of_ten(of_one) else 0
    return times if of_action <= MAX_OF_ACTION or _is_power_of_ten(of_action) else 0


def _is_power_of_ten(count: int) -> bool:
    return str(count).strip("0") == "1"
