"""State transitions of runs by the entries of workers: one statement for a batch, and never backwards.

1. A run moves only while it has not ended or is unconfirmed, and not by an entry of an earlier attempt than its current
   one. An unconfirmed run that moves loses its reason.
2. The moment of receipt is set independently, also of a run that has ended meanwhile.
3. Of several moves of one run in a batch, ends come last, so that a batch with its whole life leaves it ended. Each
   goes into a round of its own; nearly always there is one round.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from beatdesk.execution.events import Entry, Event, limited
from webapp.database.dialects import MOMENT, NUMBER, TEXT, BatchStatement
from webapp.run_store.states import ENDED, UNSETTLED, WAITING, RunState, in_sql

# In the order in which they are applied within a batch. The claim itself writes "started".
STATES = {
    Event.UNCONFIRMED: RunState.UNCONFIRMED,
    Event.RETRYING: RunState.RETRYING,
    Event.SUCCEEDED: RunState.SUCCEEDED,
    Event.FAILED: RunState.FAILED,
    Event.REVOKED: RunState.REVOKED,
    Event.EXPIRED: RunState.EXPIRED,
}
# The states that replace or remove the error of an earlier attempt.
_DONE = (RunState.FAILED, RunState.SUCCEEDED)
# The states whose text is the reason; the others keep the reason, unless it was that of an unconfirmed run.
_REASONED = (RunState.UNCONFIRMED, RunState.RETRYING, RunState.REVOKED, RunState.EXPIRED)
_KEPT_REASON = f"WHEN runs.state <> '{RunState.UNCONFIRMED}' THEN runs.reason"
_RANK = {event: rank for rank, event in enumerate(STATES)}


NOT_BACKWARDS = f"{in_sql('runs.state', UNSETTLED)} AND runs.attempt <= told.attempt"
# Only of a run that waits a second sending says that nobody knows.
_IS_OPEN = f"(told.state <> '{RunState.UNCONFIRMED}' OR runs.state = '{RunState.QUEUED}')"
_MOVES = f"told.state IS NOT NULL AND {_IS_OPEN} AND {NOT_BACKWARDS}"


def _set(column: str, value: str, *states: RunState) -> str:
    """The assignment of a column by moves to one of these states; other moves leave it as it is."""
    moves = f"{_MOVES} AND {in_sql('told.state', states)}" if states else _MOVES
    return f"{column} = CASE WHEN {moves} THEN {value} ELSE runs.{column} END"


def batch_update(columns: Mapping[str, str], assignments: str, condition: str) -> BatchStatement:
    """An UPDATE of the runs named in the column `run` of a batch, which `assignments` and `condition` call `told`.

    Each run may be in a batch once: of several rows with the same id only one would be applied.
    """
    text = f"UPDATE runs SET {assignments} FROM {{batch}} WHERE runs.id = told.run AND ({condition})"  # noqa: S608
    return BatchStatement({"run": TEXT, **columns}, text)


_UPDATE = batch_update(
    {"received_at": MOMENT, "state": TEXT, "attempt": NUMBER, "at": MOMENT, "text": TEXT, "traceback": TEXT},
    ", ".join(
        (
            "received_at = COALESCE(runs.received_at, told.received_at)",
            _set("state", "told.state"),
            _set("attempt", "told.attempt"),
            _set("ended_at", f"CASE WHEN {in_sql('told.state', ENDED)} THEN told.at END"),
            _set("reason", f"CASE WHEN {in_sql('told.state', _REASONED)} THEN told.text {_KEPT_REASON} END"),
            _set("claimed_by", "NULL", RunState.RETRYING),
            _set("result", "told.text", RunState.SUCCEEDED),
            _set("error", f"CASE told.state WHEN '{RunState.FAILED}' THEN told.text END", *_DONE),
            _set("traceback", "told.traceback", *_DONE),
            # Secret arguments are deleted when a run succeeds; one that failed can be retried with them.
            _set("sealed", "NULL", RunState.SUCCEEDED),
        )
    ),
    f"(told.received_at IS NOT NULL AND runs.received_at IS NULL) OR ({_MOVES})",
)


# A run that waits for its next attempt is begun by that alone; news of the attempt before may come again.
_BEGINS = (
    f"({in_sql('runs.state', WAITING | {RunState.UNCONFIRMED})} OR "
    f"(runs.state = '{RunState.RETRYING}' AND runs.attempt < told.attempt))"
)
_BEGIN = batch_update(
    {"attempt": NUMBER, "at": MOMENT, "worker": TEXT},
    f"state = CASE WHEN {_BEGINS} THEN '{RunState.STARTED}' ELSE runs.state END, "
    f"attempt = CASE WHEN {_BEGINS} THEN told.attempt ELSE runs.attempt END, "
    f"ended_at = CASE WHEN {_BEGINS} THEN NULL ELSE runs.ended_at END, "
    f"reason = CASE WHEN {_BEGINS} THEN NULL ELSE runs.reason END, "
    "started_at = COALESCE(runs.started_at, told.at), worker = told.worker",
    f"runs.claimed_by IS NULL AND (runs.started_at IS NULL OR {_BEGINS})",
)


def begin(connection: sa.Connection, entries: Iterable[Entry]) -> None:
    """Begin runs that workers which claim nothing execute. Commits nothing itself.

    A run that a worker of ours has claimed stays as it is; of one that has ended, only when it began is noted.
    """
    latest: dict[str, tuple[Any, ...]] = {}
    for entry in entries:
        if entry.event is Event.OBSERVED:
            first = latest.get(entry.run_id, (None, 0, entry.at))[2]
            latest[entry.run_id] = (entry.run_id, entry.attempt, min(first, entry.at), entry.worker or None)
    _BEGIN.execute(connection, latest.values())


def apply(connection: sa.Connection, entries: Iterable[Entry]) -> None:
    """Move runs by these entries, in any order, each any number of times. Commits nothing."""
    for rows in _rounds(entries):
        _UPDATE.execute(connection, rows)


def _rounds(entries: Iterable[Entry]) -> Iterable[list[tuple[Any, ...]]]:
    """The rows of each statement; the first one has the moments of receipt and the first move of each run."""
    received: dict[str, datetime] = {}
    moves: dict[str, list[Entry]] = {}
    for entry in entries:
        at = entry.at if entry.event is Event.RECEIVED else entry.received
        if at is not None:
            received.setdefault(entry.run_id, at)
        if entry.event in STATES:
            moves.setdefault(entry.run_id, []).append(entry)
    alone = received.keys() - moves.keys()
    rows = [(run_id, received[run_id], None, None, None, None, None) for run_id in alone]
    for known in moves.values():
        if len(known) > 1:
            known.sort(key=lambda entry: _RANK[entry.event])
    number = 0
    while moves:
        rows += [_row(known[number], received) for known in moves.values()]
        yield rows
        number += 1
        rows = []
        moves = {run_id: known for run_id, known in moves.items() if len(known) > number}
    if rows:
        yield rows


def _row(entry: Entry, received: dict[str, datetime]) -> tuple[Any, ...]:
    return (
        entry.run_id,
        received.get(entry.run_id),
        STATES[entry.event].value,
        entry.attempt,
        entry.at,
        limited(entry.text) or None,
        limited(entry.traceback) or None,
    )
