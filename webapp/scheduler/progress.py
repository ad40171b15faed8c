"""How far each schedule has come, in `schedule_progress`; and the library's own columns, for those who read them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy_celery_beat.models import PeriodicTask

from webapp.database.dialects import LARGE_NUMBER, MOMENT, NUMBER, TEXT, BatchStatement, Many, one_of
from webapp.database.moments import moment


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


_ADVANCE = BatchStatement(
    {
        "schedule_id": NUMBER,
        "last_due_at": MOMENT,
        "next_due_at": MOMENT,
        "runs": NUMBER,
        "revision": LARGE_NUMBER,
    },
    "INSERT INTO schedule_progress (schedule_id, last_due_at, next_due_at, runs, revision) SELECT * FROM {batch} "
    "WHERE true ON CONFLICT (schedule_id) DO UPDATE SET last_due_at = excluded.last_due_at, "
    "next_due_at = excluded.next_due_at, runs = excluded.runs, revision = excluded.revision, broken = NULL",
)
# A schedule that was deleted meanwhile has no progress to note.
_NOTE = BatchStatement(
    {"schedule_id": NUMBER, "next_due_at": MOMENT, "broken": TEXT, "revision": LARGE_NUMBER},
    "INSERT INTO schedule_progress (schedule_id, next_due_at, broken, revision, broken_since) "
    "SELECT told.*, {now} FROM {batch} "
    "WHERE EXISTS (SELECT 1 FROM celery_periodictask p WHERE p.id = told.schedule_id) "
    "ON CONFLICT (schedule_id) DO UPDATE SET next_due_at = excluded.next_due_at, broken = excluded.broken, "
    "runs = CASE WHEN schedule_progress.revision IS NULL THEN 0 ELSE schedule_progress.runs END, "
    "revision = excluded.revision, broken_since = CASE WHEN schedule_progress.broken IS NOT NULL "
    "THEN COALESCE(schedule_progress.broken_since, excluded.broken_since) ELSE excluded.broken_since END",
)


def advance(connection: sa.Connection, steps: Sequence[Step]) -> None:
    """Note that due times were accounted for, in the transaction that creates their runs."""
    rows = ((step[0], moment(step[1]), _moment(step[2]), *step[3:]) for step in steps)
    _ADVANCE.execute(connection, rows)


def note(connection: sa.Connection, notes: Iterable[Note]) -> None:
    """Note what loaded or edited schedules wait for: pages show it, and the next start need not compute it."""
    _NOTE.execute(connection, ((made[0], _moment(made[1]), *made[2:]) for made in notes))


def _moment(epoch: float | None) -> datetime | None:
    return None if epoch is None else moment(epoch)


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


_LOCK = (
    sa.select(PeriodicTask.id)
    .where(one_of(PeriodicTask.id, sa.bindparam("ids", type_=Many())))
    .order_by(PeriodicTask.id)
    .with_for_update()
)
_DISABLE = sa.text(
    "UPDATE celery_periodictask SET enabled = false WHERE id = :schedule_id AND enabled "
    "AND EXISTS (SELECT 1 FROM schedule_details WHERE schedule_id = :schedule_id AND revision = :revision)"
)
_END = sa.text(
    "UPDATE schedule_progress SET revision = NULL, next_due_at = NULL "
    "WHERE schedule_id = :schedule_id AND revision = :revision"
)


def disable(connection: sa.Connection, finished: Sequence[Finished]) -> None:
    """Switch off schedules that have nothing more to wait for, unless they were edited meanwhile.

    Its progress has no revision from then on: by that pages know why it is off, and if it is enabled again, its runs
    count anew. This is bookkeeping and no edit: it makes no version and no audit row, but other beats hear of it as of
    any change.
    """
    if not finished:
        return
    ordered = sorted(finished)
    # First the lock, then, in a statement of its own, what an editor has committed who held it until now.
    connection.execute(_LOCK, {"ids": [one.schedule_id for one in ordered]}).all()
    given = [one._asdict() for one in ordered]
    connection.execute(_DISABLE, given)
    connection.execute(_END, given)


_TALLY = BatchStatement(
    {"id": NUMBER, "runs": NUMBER, "at": MOMENT},
    "UPDATE celery_periodictask SET last_run_at = told.at, total_run_count = total_run_count + told.runs "
    "FROM {batch} WHERE celery_periodictask.id = told.id AND {unlocked}",
    locking="celery_periodictask",
)


def tally(connection: sa.Connection, runs: dict[int, int], now: float) -> None:
    """Add to the library's own count of runs and last run, which its other users read.

    A row that another transaction has locked is left out. These columns decide nothing here, so they may be written
    later than the runs, and are not an edit.
    """
    at = moment(now)
    _TALLY.execute(connection, ((schedule_id, count, at) for schedule_id, count in runs.items()))


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
