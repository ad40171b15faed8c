"""How state changes reach the `runs` table: never backwards, however late or often they are told."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from webapp.runs.models import Run, RunLine
from webapp.runs.states import UNENDED, Origin, RunState
from webapp.runs.stream import Entry, Event, limited
from webapp.schedules import budgets

# Of the line that says why an attempt failed.
RETRY_LEVEL = "retry"

# Not IN: SQLAlchemy writes its list anew for each execution, which a batch of many rows cannot do.
_UNENDED = sa.or_(*(Run.state == state for state in sorted(UNENDED)))


def _statement(**values: Any) -> sa.Update:
    """An UPDATE of the run `b_run` that has not ended, and is not in a later attempt already."""
    return (
        sa.update(Run)
        .where(Run.id == sa.bindparam("b_run"), _UNENDED, Run.attempt <= sa.bindparam("b_attempt"))
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
        state=RunState.SUCCEEDED,
        result=sa.bindparam("b_text"),
        ended_at=_at(Run.ended_at),
        error=None,
        traceback=None,
        # Nobody needs them any more. A run that failed can be retried with them until it is deleted.
        sealed=None,
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


def apply(connection: sa.Connection, entries: Iterable[Entry]) -> bool:
    """Apply what happened in any order, each any number of times. Commits nothing itself.

    Whether a schedule was paused for its failures, of which beat should hear.
    """
    entries = list(entries)
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
    _keep_published(connection, [entry for entry in entries if entry.event is Event.PUBLISHED])
    _keep_causes(connection, [entry for entry in entries if entry.event is Event.RETRYING])
    _keep_lines(connection, [entry for entry in entries if entry.event is Event.LINE])
    _keep_progress(connection, [entry for entry in entries if entry.event is Event.PROGRESS])
    for event in _ORDER:
        if rows := by_event.get(event):
            needed = _NEEDED[event]
            connection.execute(_STATEMENTS[event], [{name: row[name] for name in needed} for row in rows])
    failed, succeeded = ([row["b_run"] for row in by_event.get(event, [])] for event in (Event.FAILED, Event.SUCCEEDED))
    return budgets.look(connection, failed, succeeded)


_PROGRESS = (
    sa.update(Run)
    .where(
        Run.id == sa.bindparam("b_run"),
        _UNENDED,
        Run.attempt <= sa.bindparam("b_attempt"),
        sa.or_(Run.progress_at.is_(None), Run.progress_at < _at(Run.progress_at)),
    )
    .values(
        progress_done=sa.bindparam("b_done"),
        progress_total=sa.bindparam("b_total"),
        progress_text=sa.bindparam("b_text"),
        progress_at=_at(Run.progress_at),
    )
)


def _keep_progress(connection: sa.Connection, entries: list[Entry]) -> None:
    """The latest of each run; what came before it is nobody's concern any more."""
    latest: dict[str, Entry] = {}
    for entry in sorted(entries, key=lambda entry: entry.at):
        latest[entry.run_id] = entry
    rows = []
    for entry in latest.values():
        told = _told(entry)
        rows.append(
            {
                "b_run": entry.run_id,
                "b_attempt": entry.attempt,
                "b_at": entry.at,
                "b_done": told.get("done"),
                "b_total": told.get("total"),
                "b_text": told.get("text") or None,
            }
        )
    if rows:
        connection.execute(_PROGRESS, rows)


def _keep_published(connection: sa.Connection, entries: list[Entry]) -> None:
    """Rows for what tasks have sent. A worker that was quicker has made the row with the moment of its claim."""
    rows = [row for entry in entries if (row := _row(entry))]
    if not rows:
        return
    insert = _insert(connection)(Run)
    earlier = (Run.created_at > insert.excluded.created_at) & (Run.origin == Origin.TASK)
    told_first = {name: insert.excluded[name] for name in ("created_at", "sent_at")}
    connection.execute(insert.on_conflict_do_update(index_elements=["id"], set_=told_first, where=earlier), rows)


def _row(entry: Entry) -> dict[str, Any] | None:
    """The row of what was published; None for what is not ours."""
    told = _told(entry)
    try:
        eta, expires_at = (datetime.fromisoformat(told[name]) if told[name] else None for name in _MOMENTS)
        return {
            "id": entry.run_id,
            "task": told["task"],
            "args": json.dumps(told["args"]),
            "kwargs": json.dumps(told["kwargs"]),
            # Its message has the time too; whichever comes first is executed, the other one is a duplicate.
            "state": RunState.HELD if eta is not None and eta > entry.at else RunState.QUEUED,
            "origin": Origin.TASK,
            "created_at": entry.at,
            "sent_at": entry.at,
            "sends": 1,
            "eta": eta,
            "expires_at": expires_at,
            "attempt": entry.attempt,
            **{name: told[name] for name in _SENT},
        }
    except (KeyError, TypeError, ValueError):
        return None


_MOMENTS = ("eta", "expires_at")
_SENT = ("sealed", "queue", "options", "group_id", "group_index", "parent_id", "root_id")


def _keep_causes(connection: sa.Connection, entries: list[Entry]) -> None:
    """Why each attempt failed stays with the run, as a line of its own level."""
    rows = [
        {"run_id": entry.run_id, "entry": entry.entry_id, "at": entry.at, "level": RETRY_LEVEL, "text": entry.text}
        for entry in entries
    ]
    if rows:
        connection.execute(_insert(connection)(RunLine).on_conflict_do_nothing(), rows)


def _insert(connection: sa.Connection) -> Any:
    return sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert


def _keep_lines(connection: sa.Connection, entries: list[Entry]) -> None:
    rows = []
    for entry in entries:
        told = _told(entry)
        text, level = limited(str(told.get("text", ""))), str(told.get("level", "info"))[:10]
        rows.append({"run_id": entry.run_id, "entry": entry.entry_id, "at": entry.at, "level": level, "text": text})
    if rows:
        connection.execute(_insert(connection)(RunLine).on_conflict_do_nothing(), rows)


def _told(entry: Entry) -> dict[str, Any]:
    try:
        told = json.loads(entry.text)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}
