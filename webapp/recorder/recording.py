"""Applies entries of the stream to the table `runs`: late or repeated ones never move a run backwards."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter, itemgetter
from typing import Any

import sqlalchemy as sa

from beatdesk.encoding import encodable
from beatdesk.execution.events import (
    ID_LENGTH,
    Entry,
    Event,
    Unrecordable,
    limited,
    recordable_id,
    recordable_integer,
    recordable_moment,
)
from beatdesk.execution.ids import external_id, repeated_id
from webapp.database.dialects import FRACTION, MOMENT, NUMBER, TEXT, BatchStatement
from webapp.database.engine import is_about_values
from webapp.recorder import failure_budgets, transitions
from webapp.run_store.creation import SENT_EARLIER, NewRun, insert, waiting_state
from webapp.run_store.models import Run
from webapp.run_store.statements import NOT_SENT
from webapp.run_store.states import Origin, RunState

logger = logging.getLogger(__name__)

# The level of the log line with the reason of a failed attempt.
RETRY_LEVEL = "retry"


# The row of a message that a worker has received, and its task id if that may have been sent before.
Received = tuple[NewRun, str | None]


@dataclass(slots=True)
class Recorded:
    """The outcome of a batch. `rejected` are entries that cannot be recorded, with the reason.

    `paused` if a schedule was paused for its failures, so that beat has to be woken.
    """

    kept: list[Entry] = field(default_factory=list)
    rejected: list[tuple[Entry, str]] = field(default_factory=list)
    paused: bool = False


def record(engine: sa.Engine, entries: Sequence[Entry]) -> Recorded:
    """Apply a batch in a transaction of its own; one that fails for its values is halved, down to single entries.

    Raises errors that the entries did not cause, such as OperationalError while the database is away. Halves that were
    committed by then are applied once more with the next try, which is harmless.
    """
    done, waiting = Recorded(), [list(entries)] if entries else []
    while waiting:
        batch, rejected = waiting.pop(), list[tuple[Entry, str]]()
        try:
            with engine.begin() as connection:
                done.paused |= apply(connection, batch, rejected)
        except Exception as error:
            if not is_about_values(error):
                raise
            if len(batch) > 1:
                waiting += [batch[len(batch) // 2 :], batch[: len(batch) // 2]]
                continue
            if not _applied_without_budget(engine, batch, error):
                rejected = [(batch[0], _reason(error))]
        done.rejected += rejected
        refused = {id(entry) for entry, _ in rejected}
        done.kept += [entry for entry in batch if id(entry) not in refused]
    return done


def _applied_without_budget(engine: sa.Engine, batch: list[Entry], error: Exception) -> bool:
    """Whether an entry can be recorded without its failure budget, on which a run's end must not depend."""
    try:
        with engine.begin() as connection:
            _apply(connection, batch, [])
    except Exception as again:
        if not is_about_values(again):
            raise
        return False
    logger.error("the failure budget of the schedule of run %s was not checked: %s", batch[0].run_id, error)
    return True


def _reason(error: Exception) -> str:
    """The database's error about a value, in one line, without the values of the statement, which may be secret."""
    cause = getattr(error, "orig", None) or error
    return encodable(f"{type(cause).__name__}: {' '.join(str(cause).split())}")[:300]


def apply(connection: sa.Connection, entries: Iterable[Entry], rejected: list[tuple[Entry, str]] | None = None) -> bool:
    """Apply entries, in any order, each any number of times. Commits nothing.

    Gives whether a schedule was paused for its failures, so that beat has to be woken. Entries that cannot be recorded
    are left out, and added to `rejected` with the reason.
    """
    entries = list(entries)
    _apply(connection, entries, [] if rejected is None else rejected)
    failed, succeeded = (
        [entry.run_id for entry in entries if entry.event is event] for event in (Event.FAILED, Event.SUCCEEDED)
    )
    return failure_budgets.enforce(connection, failed, succeeded)


def _apply(connection: sa.Connection, entries: list[Entry], rejected: list[tuple[Entry, str]]) -> None:
    rows: dict[Event, list[Any]] = {event: [] for event in _ROWS}
    for entry in entries:
        if entry.event in _ROWS:
            try:
                rows[entry.event].append(_ROWS[entry.event](entry))
            except Unrecordable as error:
                rejected.append((entry, str(error)))
    _keep_published(connection, rows[Event.PUBLISHED])
    _keep_received(connection, [row for row in rows[Event.RECEIVED] if row is not None])
    _LINES.execute(connection, rows[Event.RETRYING] + rows[Event.LINE])
    _keep_progress(connection, rows[Event.PROGRESS])
    transitions.begin(connection, entries)
    transitions.apply(connection, entries)


_PROGRESS = transitions.batch_update(
    {"attempt": NUMBER, "at": MOMENT, "done": FRACTION, "total": FRACTION, "text": TEXT},
    "progress_done = told.done, progress_total = told.total, progress_text = told.text, progress_at = told.at",
    f"{transitions.NOT_BACKWARDS} AND (runs.progress_at IS NULL OR runs.progress_at < told.at)",
)
# The column of the moment in its rows.
_AT_COLUMN = 2


def _progress_row(entry: Entry) -> tuple[Any, ...]:
    payload = _payload(entry)
    done, total = _finite(payload, "done"), _finite(payload, "total")
    return entry.run_id, entry.attempt, entry.at, done, total, limited(str(payload.get("text") or "")) or None


def _keep_progress(connection: sa.Connection, rows: list[tuple[Any, ...]]) -> None:
    """Keep the latest progress of each run."""
    latest = {row[0]: row for row in sorted(rows, key=itemgetter(_AT_COLUMN))}
    _PROGRESS.execute(connection, latest.values())


def _keep_published(connection: sa.Connection, rows: list[NewRun]) -> None:
    """Insert rows for the runs that tasks have sent; of several entries for one run the earliest counts."""
    earliest = {row.id: row for row in sorted(rows, key=attrgetter("created_at"), reverse=True)}
    insert(connection, list(earliest.values()), SENT_EARLIER)


def _keep_received(connection: sa.Connection, received: list[Received]) -> None:
    """Insert rows for messages of other programs. A task id whose run started before this receipt is another run."""
    if not received:
        return
    begun = sa.select(Run.id, Run.started_at).where(
        Run.id.in_([row.id for row, _ in received]), Run.origin == Origin.PROGRAM
    )
    known = {run.id: run.started_at for run in connection.execute(begun)}
    insert(connection, [_with_unused_id(each, known.get(each[0].id)) for each in received])


def _with_unused_id(received: Received, started_at: datetime | None) -> NewRun:
    row, task_id = received
    if task_id is None or started_at is None or started_at >= row.created_at:
        return row
    return row._replace(id=repeated_id(task_id, row.created_at.timestamp()), external_id=external_id(task_id))


def _received_row(entry: Entry) -> Received | None:
    """The row of another program's message, if the entry has its content. Raises Unrecordable."""
    if not entry.text or entry.text == "{}":
        return None
    payload = _payload(entry)
    # Queued also with an eta: its worker holds the message until then.
    row = _published_row(entry)._replace(state=RunState.QUEUED, received_at=entry.at)
    return row, str(payload.get("external_id")) if payload.get("repeatable") else None


def _published_row(entry: Entry) -> NewRun:
    """The row of a message of a task or another program. Raises Unrecordable for an entry that is not ours."""
    payload = _payload(entry)
    try:
        eta, expires_at = (recordable_moment(name, payload[name]) if payload[name] else None for name in _MOMENTS)
        index, task_id, why = payload["group_index"], payload.get("external_id"), payload.get("undelivered")
        texts: dict[str, Any] = {name: payload[name] and _text(payload, name) for name in _SENT}
        texts |= {name: _id(payload[name]) for name in _RELATIVES}
        return NewRun(
            id=recordable_id(entry.run_id),
            external_id=None if task_id in (None, entry.run_id) else external_id(str(task_id)),
            task=_text(payload, "task"),
            args=_json(payload, "args", list),
            kwargs=_json(payload, "kwargs", dict),
            # Its message has the eta too: the first of both is executed, the other one is a duplicate.
            state=waiting_state(eta, entry.at),
            origin=Origin(payload.get("origin", Origin.TASK)),
            created_at=entry.at,
            sent_at=None if why else entry.at,
            sends=0 if why else 1,
            reason=f"{NOT_SENT}{why}" if why else None,
            eta=eta,
            expires_at=expires_at,
            # Of a worker that claims nothing; the claim names ours.
            worker=payload.get("worker"),
            attempt=entry.attempt,
            group_index=None if index is None else recordable_integer("group_index", index),
            **texts,
        )
    except KeyError as error:
        raise Unrecordable(f"the published message has no {error.args[0]}") from None
    except RecursionError:
        raise Unrecordable("the arguments of the published message are nested too deep") from None


_MOMENTS = ("eta", "expires_at")
_SENT = ("sealed", "queue", "options")
_RELATIVES = ("group_id", "parent_id", "root_id")


def _text(payload: dict[str, Any], name: str) -> str:
    if not isinstance(payload[name], str) or not payload[name]:
        raise Unrecordable(f"its {name} is not text")
    return str(payload[name])


def _json(payload: dict[str, Any], name: str, kind: type) -> str:
    if isinstance(payload[name], str):
        # Arguments in another program's event of which no value can be made.
        return limited(payload[name])
    if not isinstance(payload[name], kind):
        raise Unrecordable(f"its {name} are not a JSON {'list' if kind is list else 'object'}")
    return json.dumps(payload[name])


def _id(value: Any) -> str | None:
    """The id of a related run; None if no row can have it."""
    return value if isinstance(value, str) and len(encodable(value)) <= ID_LENGTH else None


def _finite(payload: dict[str, Any], name: str) -> float | None:
    """A number of the progress. Raises Unrecordable if it is not finite."""
    value = payload.get(name)
    try:
        found = None if value is None else float(value)
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if found is not None and not math.isfinite(found):
        raise Unrecordable(f"its progress “{name}” is not a finite number")
    return found


def _log_line(entry: Entry) -> tuple[Any, ...]:
    payload = _payload(entry)
    return _line_row(entry, payload.get("level", "info"), payload.get("text", ""))


def _line_row(entry: Entry, level: Any, text: Any) -> tuple[Any, ...]:
    return entry.run_id, entry.entry_id, entry.at, encodable(str(level))[:10], limited(str(text))


_LINES = BatchStatement(
    {"run_id": TEXT, "entry": TEXT, "at": MOMENT, "level": TEXT, "text": TEXT},
    "INSERT INTO run_lines (run_id, entry, at, level, text) "
    "SELECT run_id, entry, at, level, text FROM {batch} WHERE true ON CONFLICT DO NOTHING",
)


def _payload(entry: Entry) -> dict[str, Any]:
    """The JSON object that is an entry's text. Raises Unrecordable."""
    try:
        payload = json.loads(entry.text)
    except (ValueError, RecursionError) as error:
        raise Unrecordable(f"its text is not JSON: {error}") from None
    if not isinstance(payload, dict):
        raise Unrecordable("its text is not a JSON object")
    return payload


# The events that become rows of their own, and what makes them; each raises Unrecordable.
_ROWS: dict[Event, Callable[[Entry], Any]] = {
    Event.PUBLISHED: _published_row,
    Event.RECEIVED: _received_row,
    # The reason of a failed attempt is kept as a log line with a level of its own.
    Event.RETRYING: lambda entry: _line_row(entry, RETRY_LEVEL, entry.text),
    Event.LINE: _log_line,
    Event.PROGRESS: _progress_row,
}
