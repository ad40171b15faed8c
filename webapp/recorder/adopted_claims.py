"""Notes the claims that adopted workers made in Redis, and what they left to another message."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from beatdesk.encoding import encodable
from beatdesk.execution.events import Entry, Event, Unrecordable, recordable_integer
from webapp.database.dialects import MOMENT, NUMBER, TEXT
from webapp.recorder import transitions
from webapp.run_store import claims
from webapp.run_store.states import RunState

MAX_WORKER_ID = 64
# A claim moves its run unless that has ended, is in a later attempt, or has the claim already. A run that waits for its
# next attempt is claimed by that alone.
_CLAIMS = (
    f"{transitions.NOT_BACKWARDS} "
    "AND (runs.attempt < told.attempt OR COALESCE(runs.claimed_by, '') <> told.claimer) "
    f"AND (runs.attempt < told.attempt OR runs.state <> '{RunState.RETRYING}')"
)


def _set(column: str, value: str, otherwise: str | None = None) -> str:
    return f"{column} = CASE WHEN {_CLAIMS} THEN {value} ELSE {otherwise or f'runs.{column}'} END"


_CLAIM = transitions.batch_update(
    {"attempt": NUMBER, "at": MOMENT, "claimer": TEXT, "worker": TEXT},
    ", ".join(
        (
            _set("state", f"'{RunState.STARTED}'"),
            _set("attempt", "told.attempt"),
            _set("claims", "runs.claims + 1"),
            _set("claimed_by", "told.claimer"),
            _set("claim_seen_at", "{now}"),
            _set("ended_at", "NULL"),
            _set("reason", f"CASE WHEN runs.state <> '{RunState.UNCONFIRMED}' THEN runs.reason END"),
            _set("worker", "told.worker", "COALESCE(runs.worker, told.worker)"),
            "started_at = COALESCE(runs.started_at, told.at)",
            "sent_at = COALESCE(runs.sent_at, told.at)",
        )
    ),
    f"runs.started_at IS NULL OR ({_CLAIMS})",
)


# The columns of a noted claim: the run, the attempt, when it began, the worker's id and its name.
Noted = tuple[str, int, datetime, str, str | None]


def noted(entry: Entry, told: Mapping[str, Any]) -> Noted:
    """The claim that an entry has, by what its JSON tells. Raises Unrecordable."""
    claimer = told.get("by")
    if not isinstance(claimer, str) or not 0 < len(claimer) <= MAX_WORKER_ID:
        raise Unrecordable("its claim names no worker")
    return entry.run_id, entry.attempt, entry.began or entry.at, claimer, entry.worker or None


def note(connection: sa.Connection, claims_: Iterable[Noted]) -> None:
    """Note claims; of several claims of a run the one of its last attempt. Commits nothing."""
    latest: dict[str, Noted] = {}
    for claim in claims_:
        run_id, attempt, at, *holder = claim
        known = latest.get(run_id)
        if known is None or attempt >= known[1]:
            latest[run_id] = (run_id, attempt, min(at, known[2]) if known else at, *holder)  # type: ignore[assignment]
    _CLAIM.execute(connection, latest.values())


def parts(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """The entries in order, cut after each that releases a claim: what comes next may be the next claim of that run."""
    part: list[Entry] = []
    for entry in entries:
        part.append(entry)
        if entry.event is Event.RELEASED:
            yield part
            part = []
    if part:
        yield part


class Released(NamedTuple):
    """A run that a worker leaves to another message: its replacement, or its own that the broker delivers again (0)."""

    run_id: str
    worker_id: str
    reason: str
    replaced: int
    replacement: str | None
    at: datetime


def released(entry: Entry) -> Released:
    """What an entry tells. Raises Unrecordable."""
    told = payload(entry.text)
    replacement = told.get("replacement")
    if replacement is not None and not isinstance(payload(str(replacement)).get("options", {}), dict):
        raise Unrecordable("its replacement is no task")
    texts = encodable(str(told.get("by"))), encodable(str(told.get("reason")))
    return Released(
        entry.run_id, *texts, recordable_integer("replaced", told.get("replaced", 0)), replacement, entry.at
    )


def release(connection: sa.Connection, released: Iterable[Released]) -> None:
    """Leave runs to other messages. Commits nothing."""
    for one in released:
        if one.replaced:
            claims.hand_over(connection, *one)
        else:
            claims.give_back(connection, one.run_id, one.worker_id, one.reason)


def payload(text: str) -> dict[str, Any]:
    """The JSON object that a text is. Raises Unrecordable."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unrecordable(f"its text is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise Unrecordable("its text is not a JSON object")
    return found
