"""How state changes reach the `runs` table: never backwards, however late or often they are told."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from webapp.runs import moves
from webapp.runs.batches import FRACTION, MOMENT, NUMBER, TEXT, BatchUpdate
from webapp.runs.ids import external_id, repeated_id
from webapp.runs.models import Run, RunLine
from webapp.runs.states import Origin, RunState
from webapp.runs.store import NOT_SENT
from webapp.runs.stream import Entry, Event, limited
from webapp.schedules import budgets

# Of the line that says why an attempt failed.
RETRY_LEVEL = "retry"


def apply(connection: sa.Connection, entries: Iterable[Entry]) -> bool:
    """Apply what happened in any order, each any number of times. Commits nothing itself.

    Whether a schedule was paused for its failures, of which beat should hear.
    """
    entries = list(entries)
    _keep_published(connection, [entry for entry in entries if entry.event is Event.PUBLISHED])
    _keep_received(connection, [entry for entry in entries if entry.event is Event.RECEIVED and entry.text])
    _keep_causes(connection, [entry for entry in entries if entry.event is Event.RETRYING])
    _keep_lines(connection, [entry for entry in entries if entry.event is Event.LINE])
    _keep_progress(connection, [entry for entry in entries if entry.event is Event.PROGRESS])
    moves.apply(connection, entries)
    failed, succeeded = (
        [entry.run_id for entry in entries if entry.event is event] for event in (Event.FAILED, Event.SUCCEEDED)
    )
    return budgets.look(connection, failed, succeeded)


_PROGRESS = BatchUpdate(
    {"attempt": NUMBER, "at": MOMENT, "done": FRACTION, "total": FRACTION, "text": TEXT},
    "progress_done = told.done, progress_total = told.total, progress_text = told.text, progress_at = told.at",
    f"{moves.NOT_BACKWARDS} AND (runs.progress_at IS NULL OR runs.progress_at < told.at)",
)


def _keep_progress(connection: sa.Connection, entries: list[Entry]) -> None:
    """The latest of each run; what came before it is nobody's concern any more."""
    latest: dict[str, Entry] = {}
    for entry in sorted(entries, key=lambda entry: entry.at):
        latest[entry.run_id] = entry
    rows = []
    for entry in latest.values():
        told = _told(entry)
        told_text = told.get("text") or None
        rows.append((entry.run_id, entry.attempt, entry.at, told.get("done"), told.get("total"), told_text))
    _PROGRESS.apply(connection, rows)


def _keep_published(connection: sa.Connection, entries: list[Entry]) -> None:
    """Rows for what tasks have sent. A worker that was quicker has made the row with the moment of its claim."""
    rows = [row for entry in entries if (row := _row(entry))]
    if not rows:
        return
    insert = _insert(connection)(Run)
    earlier = (Run.created_at > insert.excluded.created_at) & (Run.origin == Origin.TASK)
    told_first = {name: insert.excluded[name] for name in ("created_at", "sent_at")}
    connection.execute(insert.on_conflict_do_update(index_elements=["id"], set_=told_first, where=earlier), rows)


def _keep_received(connection: sa.Connection, entries: list[Entry]) -> None:
    """Rows for what other programs have sent. A task id that was begun before it was received now is another run."""
    rows = [(entry, row) for entry in entries if (row := _row(entry))]
    if not rows:
        return
    begun = sa.select(Run.id, Run.started_at).where(Run.id.in_([entry.run_id for entry, _ in rows]))
    known = {row.id: row.started_at for row in connection.execute(begun)}
    for entry, row in rows:
        started, told = known.get(entry.run_id), _told(entry)
        if told.get("repeatable") and started is not None and started < entry.at:
            task_id = str(told["external_id"])
            row |= {"id": repeated_id(task_id, entry.at.timestamp()), "external_id": external_id(task_id)}
        # The broker holds it back until its time; that is not ours to do.
        row |= {"state": RunState.QUEUED, "received_at": entry.at}
    connection.execute(_insert(connection)(Run).on_conflict_do_nothing(), [row for _, row in rows])


def _row(entry: Entry) -> dict[str, Any] | None:
    """The row of what was sent by a task or another program; None for what is not ours."""
    told = _told(entry)
    try:
        eta, expires_at = (datetime.fromisoformat(told[name]) if told[name] else None for name in _MOMENTS)
        task_id, why = told.get("external_id"), told.get("undelivered")
        return {
            "id": entry.run_id,
            "external_id": None if task_id in (None, entry.run_id) else external_id(str(task_id)),
            "task": told["task"],
            "args": json.dumps(told["args"]),
            "kwargs": json.dumps(told["kwargs"]),
            # Its message has the time too; whichever comes first is executed, the other one is a duplicate.
            "state": RunState.HELD if eta is not None and eta > entry.at else RunState.QUEUED,
            "origin": Origin(told.get("origin", Origin.TASK)),
            "created_at": entry.at,
            "sent_at": None if why else entry.at,
            "sends": 0 if why else 1,
            "reason": f"{NOT_SENT}{why}" if why else None,
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
    _insert_lines(connection, [_line(entry, RETRY_LEVEL, entry.text) for entry in entries])


def _insert(connection: sa.Connection) -> Any:
    return sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert


def _keep_lines(connection: sa.Connection, entries: list[Entry]) -> None:
    told = [(entry, _told(entry)) for entry in entries]
    _insert_lines(connection, [_line(one, it.get("level", "info"), it.get("text", "")) for one, it in told])


def _line(entry: Entry, level: Any, text: Any) -> dict[str, Any]:
    kept = {"level": str(level)[:10], "text": limited(str(text))}
    return {"run_id": entry.run_id, "entry": entry.entry_id, "at": entry.at, **kept}


def _insert_lines(connection: sa.Connection, rows: list[dict[str, Any]]) -> None:
    if rows:
        connection.execute(_insert(connection)(RunLine).on_conflict_do_nothing(), rows)


def _told(entry: Entry) -> dict[str, Any]:
    try:
        told = json.loads(entry.text)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}
