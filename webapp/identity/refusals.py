"""Refusals in the audit: wrong passwords and tokens, missing roles, unlisted tasks, arguments that do not fit.

A repeated refusal is a row for the 1st, the 10th, the 100th time and so on, with the count, and what is refused of one
user or address is at most `MAX_OF_ONE` rows in `WINDOW` seconds, so that an attack cannot fill the table.
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

WINDOW = 3600  # seconds
MAX_OF_ONE = 20
MAX_OF_ACTION = 200
MAX_REASON = 500

_ACTIONS = {403: "access.refuse", 429: "access.limit"}


def record(action: str, what: tuple[str, object, str], reason: str = "") -> None:
    """Note a refusal in a transaction of its own; the request's own transaction is rolled back.

    `what` is the object's type, id and name. Never raises: what is refused stays refused while nothing can be noted.
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
        if count := _count(action, who, f"{what[0]}:{what[1]}:{what[2]}"):
            after = {"reason": reason[:MAX_REASON], "times": count} if reason else {"times": count}
            row = audit.row(action, what, at=now(), after=after, **values)
            write_apart(lambda connection: connection.execute(row))
    except sa.exc.SQLAlchemyError as error:
        logger.warning("a refusal (%s) could not be written to the audit: %s", action, error)


def init_refusals(app: Flask) -> None:
    """Note every response that refuses access, whatever view or hook made it."""
    app.after_request(_note)


def _note(response: Response) -> Response:
    action = _ACTIONS.get(response.status_code)
    if action and "refusal_noted" not in g:
        record(action, ("route", request.endpoint or "", f"{request.method} {request.path}"))
    return response


def _count(action: str, who: str, what: str) -> int:
    """How often this was refused in the window, where that is to be noted; else 0."""
    times = limits.count_event(f"{action}:{who}:{what}", WINDOW)
    if times > 1:
        return times if _is_power_of_ten(times) else 0
    of_one = limits.count_event(f"{action}:{who}", WINDOW)
    of_action = limits.count_event(action, WINDOW) if of_one <= MAX_OF_ONE else 0
    if of_one > MAX_OF_ONE:
        return of_one if _is_power_of_ten(of_one) else 0
    return times if of_action <= MAX_OF_ACTION or _is_power_of_ten(of_action) else 0


def _is_power_of_ten(count: int) -> bool:
    return str(count).strip("0") == "1"
