"""How far each schedule has come, in `schedule_progress`; and the library's own columns, for those who read them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from webapp.database.engine import NOW_SQL, array_literal
from webapp.scheduler.connections import raw_moment


class Step(NamedTuple):
    """A schedule after its due times were accounted for. Moments are epoch seconds."""

    schedule_id: int
    last_due: float
    next_due: float | None
    runs: int
    revision: int


class Note(NamedTuple):
    """What a schedule waits for after it was loaded or edited, or why it is broken."""

    schedule_id: int
    next_due: float | None
    broken: str | None
    revision: int


_STEP_COLUMNS = "schedule_id, last_due_at, next_due_at, runs, revision"
_STEP_UPDATE = (
    "ON CONFLICT (schedule_id) DO UPDATE SET last_due_at = excluded.last_due_at, next_due_at = excluded.next_due_at, "
    "runs = excluded.runs, revision = excluded.revision, broken = NULL"
)
_NOTE_COLUMNS = "schedule_id, next_due_at, broken, revision, broken_since"
_NOTE_UPDATE = (
    "ON CONFLICT (schedule_id) DO UPDATE SET next_due_at = excluded.next_due_at, broken = excluded.broken, "
    "runs = CASE WHEN schedule_progress.revision IS NULL THEN 0 ELSE schedule_progress.runs END, "
    "revision = excluded.revision, broken_since = CASE WHEN schedule_progress.broken IS NOT NULL "
    "THEN COALESCE(schedule_progress.broken_since, excluded.broken_since) ELSE excluded.broken_since END"
)
_ADVANCE_POSTGRESQL = sa.text(
    f"INSERT INTO schedule_progress ({_STEP_COLUMNS}) SELECT * FROM unnest(CAST(:ids AS int[]), "  # noqa: S608 - constants
    "CAST(:lasts AS timestamptz[]), CAST(:nexts AS timestamptz[]), CAST(:runs AS int[]), CAST(:revisions AS bigint[])) "
    + _STEP_UPDATE
)
_ADVANCE_SQLITE = f"INSERT INTO schedule_progress ({_STEP_COLUMNS}) VALUES (?, ?, ?, ?, ?) {_STEP_UPDATE}"  # noqa: S608
# A schedule that was deleted meanwhile has no progress to note.
_NOTE_POSTGRESQL = sa.text(
    f"INSERT INTO schedule_progress ({_NOTE_COLUMNS}) SELECT n.*, {NOW_SQL['postgresql']} "  # noqa: S608 - constants
    "FROM unnest(CAST(:ids AS int[]), "
    "CAST(:nexts AS timestamptz[]), CAST(:broken AS text[]), CAST(:revisions AS bigint[])) "
    "AS n(id, due, broken, revision) "
    f"WHERE EXISTS (SELECT 1 FROM celery_periodictask p WHERE p.id = n.id) {_NOTE_UPDATE}"
)
_NOTE_SQLITE = (
    f"INSERT INTO schedule_progress ({_NOTE_COLUMNS}) SELECT p.id, ?2, ?3, ?4, {NOW_SQL['sqlite']} "  # noqa: S608
    f"FROM celery_periodictask p WHERE p.id = ?1 {_NOTE_UPDATE}"
)


def advance(connection: sa.Connection, steps: Sequence[Step]) -> None:
    """Note that due times were accounted for, in the transaction that creates their runs."""
    if not steps:
        return
    # In order of their ids, so that two transactions over the same schedules wait instead of blocking each other.
    ordered = sorted(steps)
    lasts = [raw_moment(connection, step.last_due) for step in ordered]
    nexts = [raw_moment(connection, step.next_due) for step in ordered]
    if connection.dialect.name == "postgresql":
        ids, runs, revisions = ([step[at] for step in ordered] for at in (0, 3, 4))
        given = {"ids": ids, "lasts": lasts, "nexts": nexts, "runs": runs, "revisions": revisions}
        connection.execute(_ADVANCE_POSTGRESQL, _arrays(given))
    else:
        rows = [
            (step.schedule_id, last, next_due, step.runs, step.revision)
            for step, last, next_due in zip(ordered, lasts, nexts, strict=True)
        ]
        connection.exec_driver_sql(_ADVANCE_SQLITE, rows)


def note(connection: sa.Connection, notes: Iterable[Note]) -> None:
    """Note what loaded or edited schedules wait for: pages show it, and the next start need not compute it."""
    ordered = sorted(notes, key=lambda made: made.schedule_id)
    if not ordered:
        return
    nexts = [raw_moment(connection, made.next_due) for made in ordered]
    if connection.dialect.name == "postgresql":
        given = {
            "ids": [made.schedule_id for made in ordered],
            "nexts": nexts,
            "broken": [made.broken for made in ordered],
            "revisions": [made.revision for made in ordered],
        }
        connection.execute(_NOTE_POSTGRESQL, _arrays(given))
    else:
        rows = [(made.schedule_id, due, made.broken, made.revision) for made, due in zip(ordered, nexts, strict=True)]
        connection.exec_driver_sql(_NOTE_SQLITE, rows)


def _arrays(columns: Mapping[str, Any]) -> dict[str, str]:
    return {name: array_literal(values) for name, values in columns.items()}


_COUNT = sa.text(
    "UPDATE schedule_progress SET runs = :runs, next_due_at = CASE WHEN :spent THEN NULL ELSE next_due_at END "
    "WHERE schedule_id = :schedule_id"
)


def count(connection: sa.Connection, steps: Sequence[Step]) -> None:
    """Note that runs were made for due times that had been accounted for before; how far it has come stays."""
    given = [
        {"schedule_id": step.schedule_id, "runs": step.runs, "spent": step.next_due is None} for step in sorted(steps)
    ]
    if given:
        connection.execute(_COUNT, given)


class Finished(NamedTuple):
    """A schedule that has nothing more to wait for, as it was at a revision."""

    schedule_id: int
    revision: int


_LOCK = sa.text("SELECT id FROM celery_periodictask WHERE id = ANY(CAST(:ids AS int[])) ORDER BY id FOR UPDATE")
_DISABLE = sa.text(
    "UPDATE celery_periodictask SET enabled = false WHERE id = :schedule_id AND enabled "
    "AND EXISTS (SELECT 1 FROM schedule_details WHERE schedule_id = :schedule_id AND revision = :revision)"
)
_END = sa.text(
    "UPDATE schedule_progress SET revision = NULL, next_due_at = NULL "
    "WHERE schedule_id = :schedule_id AND revision = :revision"
)


def disable(connection: sa.Connection, finished: Sequence[Finished]) -> None:
    """Switch off schedules that have nothing more to wait for, unless somebody edited them meanwhile.

    Its progress has no revision from then on: by that pages know why it is off, and if it is enabled again, its runs
    count anew. This is bookkeeping and no edit: it makes no version and no audit row, but other beats hear of it as of
    any change.
    """
    if not finished:
        return
    ordered = sorted(finished)
    if connection.dialect.name == "postgresql":
        # First the lock, then, in a statement of its own, what an editor has committed who held it until now.
        connection.execute(_LOCK, {"ids": [one.schedule_id for one in ordered]})
    given = [one._asdict() for one in ordered]
    connection.execute(_DISABLE, given)
    connection.execute(_END, given)


_TALLY_POSTGRESQL = sa.text(
    "WITH free AS (SELECT id FROM celery_periodictask WHERE id = ANY(CAST(:ids AS int[])) FOR UPDATE SKIP LOCKED) "
    "UPDATE celery_periodictask p SET last_run_at = :now, total_run_count = total_run_count + u.runs "
    "FROM unnest(CAST(:ids AS int[]), CAST(:runs AS int[])) AS u(id, runs), free WHERE p.id = u.id AND p.id = free.id"
)
_TALLY_SQLITE = "UPDATE celery_periodictask SET last_run_at = ?, total_run_count = total_run_count + ? WHERE id = ?"


def tally(connection: sa.Connection, runs: dict[int, int], now: float) -> None:
    """Add to the library's own count of runs and last run, which its other users read.

    A row in somebody's hand is left out. These columns decide nothing here, so they may be written later than the
    runs, and are not an edit.
    """
    if not runs:
        return
    at = raw_moment(connection, now)
    if connection.dialect.name == "postgresql":
        counted = _arrays({"ids": list(runs), "runs": list(runs.values())})
        connection.execute(_TALLY_POSTGRESQL, {**counted, "now": at})
    else:
        connection.exec_driver_sql(_TALLY_SQLITE, [(at, count, schedule_id) for schedule_id, count in runs.items()])


class Kept(NamedTuple):
    """A row of `schedule_progress`, its moments as the driver gives them out."""

    schedule_id: int
    last_due_at: Any
    next_due_at: Any
    runs: int
    revision: int | None


_KEPT = sa.text("SELECT schedule_id, last_due_at, next_due_at, runs, revision FROM schedule_progress")


def kept(connection: sa.Connection) -> Iterator[Kept]:
    """All of it, for a beat that begins to lead."""
    return (Kept._make(row) for row in connection.execute(_KEPT))
