"""How state changes reach the `runs` table: never backwards, however late or often they are told."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from webapp.runs.models import Run
from webapp.runs.states import UNENDED, RunState
from webapp.runs.stream import Entry, Event

_UNENDED = sorted(UNENDED)


def _statement(**values: Any) -> sa.Update:
    """An UPDATE of the run `b_run` that has not ended, and is not in a later attempt already."""
    return (
        sa.update(Run)
        .where(Run.id == sa.bindparam("b_run"), Run.state.in_(_UNENDED), Run.attempt <= sa.bindparam("b_attempt"))
        .values(attempt=sa.bindparam("b_attempt"), **values)
    )


def _at(column: Any) -> sa.BindParameter[Any]:
    return sa.bindparam("b_at", type_=column.type)


_STATEMENTS: dict[Event, sa.Update] = {
    Event.RECEIVED: sa.update(Run)
    .where(Run.id == sa.bindparam("b_run"), Run.received_at.is_(None))
    .values(received_at=_at(Run.received_at)),
    Event.RETRYING: _statement(state=RunState.RETRYING, reason=sa.bindparam("b_text"), claimed_by=None),
    Event.SUCCEEDED: _statement(
        state=RunState.SUCCEEDED, result=sa.bindparam("b_text"), ended_at=_at(Run.ended_at), error=None, traceback=None
    ),
    Event.FAILED: _statement(
        state=RunState.FAILED,
        error=sa.bindparam("b_text"),
        traceback=sa.bindparam("b_traceback"),
        ended_at=_at(Run.ended_at),
    ),
    Event.REVOKED: _statement(state=RunState.REVOKED, reason=sa.bindparam("b_text"), ended_at=_at(Run.ended_at)),
    Event.EXPIRED: _statement(state=RunState.EXPIRED, reason=sa.bindparam("b_text"), ended_at=_at(Run.ended_at)),
}
_NEEDED: dict[Event, tuple[str, ...]] = {
    Event.RECEIVED: ("b_run", "b_at"),
    Event.RETRYING: ("b_run", "b_attempt", "b_text"),
    Event.SUCCEEDED: ("b_run", "b_attempt", "b_text", "b_at"),
    Event.FAILED: ("b_run", "b_attempt", "b_text", "b_traceback", "b_at"),
    Event.REVOKED: ("b_run", "b_attempt", "b_text", "b_at"),
    Event.EXPIRED: ("b_run", "b_attempt", "b_text", "b_at"),
}
# The claim writes "started" itself. Ends come last, so that a batch with a run's whole life ends at its end.
_ORDER = (Event.RECEIVED, Event.RETRYING, Event.SUCCEEDED, Event.FAILED, Event.REVOKED, Event.EXPIRED)


def apply(connection: sa.Connection, entries: Iterable[Entry]) -> None:
    """Apply state changes in any order, each any number of times. Commits nothing itself."""
    by_event: dict[Event, list[dict[str, Any]]] = {}
    for entry in entries:
        values = {
            "b_run": entry.run_id,
            "b_attempt": entry.attempt,
            "b_at": entry.at,
            "b_text": entry.text or None,
            "b_traceback": entry.traceback or None,
        }
        by_event.setdefault(entry.event, []).append(values)
    for event in _ORDER:
        if rows := by_event.get(event):
            needed = _NEEDED[event]
            connection.execute(_STATEMENTS[event], [{name: row[name] for name in needed} for row in rows])
