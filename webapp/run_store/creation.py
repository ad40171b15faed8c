"""Runs as new rows: the one place that inserts into `runs`. No Flask here.

`create_run` adds one run to a session, for a page, a command, a task or a mail. `insert` writes any number past the
session in one statement: due times, and runs that claims and the recorder find in messages.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from operator import attrgetter
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import Session, scoped_session

from beatdesk.encoding import NAME_LENGTH
from beatdesk.execution.ids import new_id
from beatdesk.secrecy.masking import conceal
from webapp.database.dialects import MOMENT, NUMBER, TEXT, BatchStatement
from webapp.database.engine import Name, UtcDateTime, now
from webapp.run_store.models import Run
from webapp.run_store.states import Origin, RunState
from webapp.task_catalogue.registry import rule_for

AnySession = Session | scoped_session[Any]


class NewRun(NamedTuple):
    """A run that has no row yet: the columns that a new row may have, with their defaults.

    `args` and `kwargs` are JSON; where `sealed` holds the arguments to execute, they are masked. Moments are aware.
    """

    id: str
    task: str
    state: str
    origin: str
    created_at: datetime
    args: str = "[]"
    kwargs: str = "{}"
    sealed: str | None = None
    queue: str | None = None
    priority: int | None = None
    options: str | None = None
    reason: str | None = None
    schedule_id: int | None = None
    schedule_name: str | None = None
    schedule_version: int | None = None
    due_at: datetime | None = None
    pause_id: int | None = None
    expires_at: datetime | None = None
    ended_at: datetime | None = None
    eta: datetime | None = None
    created_by: int | None = None
    retry_of: str | None = None
    parent_id: str | None = None
    root_id: str | None = None
    group_id: str | None = None
    group_index: int | None = None
    external_id: str | None = None
    sent_at: datetime | None = None
    sends: int = 0
    received_at: datetime | None = None
    started_at: datetime | None = None
    attempt: int = 0
    claims: int = 0
    claimed_by: str | None = None
    worker: str | None = None


def waiting_state(eta: datetime | None, at: datetime) -> RunState:
    """The state at a moment of a run that was not begun: held until its time."""
    return RunState.HELD if eta is not None and eta > at else RunState.QUEUED


def create_run(
    session: AnySession,
    task: str,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    origin: Origin,
    **options: Any,
) -> Run:
    """Add a run to the session, in the transaction of its cause; commits nothing.

    It is queued, or held where its `eta` is in the future: the leading beat sends it then. Secret arguments are kept
    sealed, and masked in what is shown. `options` are other fields of `NewRun`. After the commit, give it to
    `webapp.runs.service.send_runs`, or leave it to the leading beat.
    """
    at, call = now(), conceal(rule_for(task), args, kwargs or {})
    state = waiting_state(options.get("eta"), at)
    arguments = (json.dumps(call.args), json.dumps(call.kwargs), call.sealed())
    run = Run(**NewRun(new_id(), task, state, origin, at, *arguments, **options)._asdict())
    session.add(run)
    return run


# Rules for a run that has a row already.
KEEP = "DO NOTHING"
# A due time that was noted as missed fires after all when it comes again: the clock had been ahead.
FIRE_MISSED = (
    "(schedule_id, due_at) DO UPDATE SET state = excluded.state, reason = excluded.reason, "
    "created_at = excluded.created_at, expires_at = excluded.expires_at, ended_at = excluded.ended_at, "
    "schedule_version = excluded.schedule_version "
    f"WHERE runs.state = '{RunState.MISSED}' AND excluded.state = '{RunState.QUEUED}'"
)
# A worker that was quicker than the entry of its sending has made the row with the moment of its claim.
SENT_EARLIER = (
    "(id) DO UPDATE SET created_at = excluded.created_at, sent_at = excluded.sent_at "
    f"WHERE runs.created_at > excluded.created_at AND runs.origin IN ('{Origin.TASK}', '{Origin.PROGRAM}')"
)


def insert(connection: sa.Connection, new: Sequence[NewRun], existing: str = KEEP) -> set[str]:
    """Create runs; a run that is claimed bears the database's moment. Commits nothing.

    Returns the ids of those that did not exist, or that `existing`, one of the rules above, has changed. Only with
    KEEP may one id come twice.
    """
    if not new:
        return set()
    # Columns that no row sets are left to the table: most runs have no more than half of them.
    columns = tuple(
        name
        for name, values in zip(NewRun._fields, zip(*new, strict=True), strict=True)
        if name not in _IN_THE_TABLE or values.count(_IN_THE_TABLE[name]) < len(values)
    )
    return set(_statement(columns, existing).execute(connection, map(attrgetter(*columns), new)))


# The defaults that the table has too.
_IN_THE_TABLE = {name: default for name, default in NewRun._field_defaults.items() if default in (None, 0)}
_TYPES = {name: type(sa.inspect(Run).columns[name].type) for name in NewRun._fields}
# As the type `Name` cuts a longer text.
_CUT = f"CASE WHEN length({{0}}) > {NAME_LENGTH} THEN substr({{0}}, 1, {NAME_LENGTH - 1}) || '…' ELSE {{0}} END"


@lru_cache(256)
def _statement(columns: tuple[str, ...], existing: str) -> BatchStatement:
    values = {name: _CUT.format(f"told.{name}") if _TYPES[name] is Name else f"told.{name}" for name in columns}
    if "claimed_by" in columns:
        values["claim_seen_at"] = "{now}"
    names, sources = map(", ".join, (values, values.values()))
    text = f"INSERT INTO runs ({names}) SELECT {sources} FROM {{batch}} WHERE true ON CONFLICT {existing} RETURNING id"  # noqa: S608  # constants of this program
    kinds: dict[Any, str] = {sa.Integer: NUMBER, UtcDateTime: MOMENT}
    return BatchStatement({name: kinds.get(_TYPES[name], TEXT) for name in columns}, text)
