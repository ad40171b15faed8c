"""The audit: one row for each state change, in the transaction that makes it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from flask import has_request_context, request
from flask_security import current_user
from sqlalchemy.orm import Session

from beatdesk.secrecy.masking import masked_value
from webapp.database.engine import now
from webapp.database.text_search import mentions
from webapp.identity.models import AuditEntry, User


def record(  # noqa: PLR0917  # the order is that of a sentence: action, what, before, after
    session: Session | sa.orm.scoped_session[Any],
    action: str,
    object_type: str,
    object_id: object = "",
    object_name: str = "",
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    *,
    actor: User | None = None,
) -> AuditEntry:
    """Add the row for one state change to the session; the caller commits both together.

    `before` and `after` may be whole objects: only the fields that differ are stored. The actor is the signed-in user,
    else "system"; `actor` names a person who is not signed in yet, such as one who registers.
    """
    what = (object_type, object_id, object_name)
    entry = AuditEntry(**row_values(action, what, before=before, after=after, **acting(actor)))
    session.add(entry)
    return entry


def note(
    connection: sa.Connection,
    actor: str,
    action: str,
    what: tuple[str, object, str],
    *,
    after: Mapping[str, Any] | None = None,
) -> None:
    """Insert the row for a state change made by one of our processes; `actor` is the process's name.

    `what` is the object's type, id and name.
    """
    connection.execute(row(action, what, at=now(), actor=actor, after=after))


def row(action: str, what: tuple[str, object, str], **values: Any) -> sa.Insert:
    """The INSERT statement of one row; `values` as in `row_values`."""
    return sa.insert(AuditEntry).values(**row_values(action, what, **values))


def acting(actor: User | None = None) -> dict[str, Any]:
    """The columns for the acting user and their network address."""
    who = actor or signed_in()
    address = ((request.remote_addr or "") if has_request_context() else "")[:64]
    return {"actor_id": who.id if who else None, "actor": name_of(who) if who else "system", "address": address}


def row_values(
    action: str,
    what: tuple[str, object, str],
    *,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    **values: Any,
) -> dict[str, Any]:
    """The columns of one row. `what` is the object's type, id and name; `values` are added as they are."""
    before, after = _differences(before, after)
    kind, number, name = what
    return {
        "action": action,
        "object_type": kind,
        "object_id": str(number)[:64],
        "object_name": name[:255],
        "before": _text(before),
        "after": _text(after),
        "address": "",
        **values,
    }


def entries(*, actor: str = "", action: str = "", thing: str = "") -> sa.Select[Any]:
    """The query for rows of the audit; `actor` and `thing` are parts of names, `action` its beginning."""
    query = sa.select(AuditEntry)
    if actor:
        query = query.where(mentions(AuditEntry.actor, actor))
    if action:
        query = query.where(AuditEntry.action.startswith(action, autoescape=True))
    if thing:
        kind, _, number = thing.partition(":")
        if number:
            query = query.where(AuditEntry.object_type == kind.strip(), AuditEntry.object_id == number.strip())
        else:
            named = mentions(AuditEntry.object_name, thing)
            query = query.where(named | (AuditEntry.object_type == thing))
    return query


def name_of(user: User) -> str:
    """A user's name and email address, as the audit shows them."""
    return f"{user.name} <{user.email}>"[:255]


def signed_in() -> Any:
    """The signed-in user; None outside of a request, or in one without a sign-in."""
    if not has_request_context() or not current_user.is_authenticated:
        return None
    return current_user


def _differences(
    before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    if before is None or after is None:
        return masked_value(before), masked_value(after)
    changed = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return (
        masked_value({name: before[name] for name in changed if name in before}),
        masked_value({name: after[name] for name in changed if name in after}),
    )


def _text(values: Mapping[str, Any] | None) -> str | None:
    return None if values is None else json.dumps(values, default=str, ensure_ascii=False)
