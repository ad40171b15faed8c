"""How long runs are kept, by the state they ended in, and deleting older ones in short transactions.

1. Read along the index of a state from its oldest run on, `BATCH_SIZE` runs at a time, in a reading transaction.
2. Of these, choose those that ended before the limit and whose due time cannot come again.
3. Delete them by their ids in a writing transaction of their own, then pause so that other processes can write.

Runs that have not ended are in no state that has a rule. A due time cannot come again once its schedule has passed it,
was changed after it, is disabled, or was deleted; until then the row prevents that it fires twice.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy_celery_beat.models import PeriodicTask

from webapp.database.engine import database_now
from webapp.database.reads import reading
from webapp.extensions import db
from webapp.identity.audit import record
from webapp.run_store import sending
from webapp.run_store.creation import create_run
from webapp.run_store.models import Run, RunLine, RunRetention
from webapp.run_store.states import Origin, RunState
from webapp.runs import service
from webapp.runs.list.listing import counted_in_states
from webapp.schedule_store.beat_models import ScheduleProgress
from webapp.schedule_store.models import ScheduleDetail

TASK = "runs.retain"
DEFAULTS: Mapping[RunState, int | None] = {
    RunState.SUCCEEDED: 30,
    RunState.FAILED: 90,
    RunState.REVOKED: 30,
    RunState.EXPIRED: 30,
    RunState.UNCONFIRMED: 90,
    RunState.SKIPPED: 30,
    RunState.MISSED: 90,
}
MAX_DAYS = 3650
# Rows in one transaction: it ends after some milliseconds, on either database.
BATCH_SIZE = 500
# A run may have thousands of log lines, which are deleted by so many in one transaction.
LINE_BATCH_SIZE = 2_000
# Between two transactions, in which other processes can write, and for all of them: below the tasks' time limit.
PAUSE_SECONDS = 0.05
MAX_CLEANING_SECONDS = 120.0
MAX_COUNTED = 10_000

Rules = Mapping[RunState, int | None]


@dataclass(frozen=True, slots=True)
class Cleaned:
    """How many runs of each state were deleted, and whether that was all that were due."""

    deleted: dict[str, int] = field(default_factory=dict)
    finished: bool = True


def rules() -> dict[RunState, int | None]:
    """For how many days runs of each state are kept; None is for ever."""
    kept = {row.state: row.days for row in db.session.scalars(sa.select(RunRetention))}
    return {state: kept.get(state, days) for state, days in DEFAULTS.items()}


def set_rules(changes: Rules) -> bool:
    """Save rules; the others stay as they are. Gives whether anything differs from before."""
    before = rules()
    after = before | dict(changes)
    if before == after:
        return False
    for state, days in after.items():
        db.session.merge(RunRetention(state=state.value, days=days))
    record(db.session, "retention.set", "retention", "", "Runs", _describe(before), _describe(after))
    db.session.commit()
    return True


def _describe(found: Rules) -> dict[str, str]:
    return {state.value: "forever" if days is None else f"{days} days" for state, days in found.items()}


def due_counts(found: Rules, now: datetime) -> dict[RunState, int]:
    """About how many runs are older than their rule says, along an index and up to `MAX_COUNTED` + 1 for each state."""
    old = {state: [Run.created_at < now - timedelta(days=days)] for state, days in found.items() if days is not None}
    return counted_in_states(MAX_COUNTED + 1, old) if old else {}


@dataclass(frozen=True, slots=True)
class LastCleaning:
    """The last cleaning that succeeded: its run, when it ended, and how many runs of each state it deleted."""

    run_id: str
    at: datetime | None
    deleted: dict[str, int]


def last_cleaning() -> LastCleaning | None:
    """The last cleaning, from the result of its own run; None if there was none."""
    newest = (
        sa.select(Run.id, Run.ended_at, Run.result)
        .where(Run.task == TASK, Run.state == RunState.SUCCEEDED)
        .order_by(Run.created_at.desc())
        .limit(1)
    )
    row = db.session.execute(newest).first()
    if row is None:
        return None
    try:
        deleted = json.loads(row.result or "{}")["deleted"]
        return LastCleaning(row.id, row.ended_at, {str(state): int(number) for state, number in deleted.items()})
    except (ValueError, TypeError, KeyError, AttributeError):
        return LastCleaning(row.id, row.ended_at, {})


def schedules() -> list[Any]:
    """The schedules that start a cleaning: id, name and enabled."""
    columns = (PeriodicTask.id, PeriodicTask.name, PeriodicTask.enabled)
    query = sa.select(*columns).where(PeriodicTask.task == TASK).order_by(PeriodicTask.enabled.desc(), PeriodicTask.id)
    return list(db.session.execute(query))


def clean(now: datetime, run_id: str, on_progress: Callable[[int], None] = lambda _: None) -> dict[str, Any]:
    """Delete by the rules, and create a further run where the time was not enough. Gives the numbers by state."""
    found = rules()
    db.session.rollback()
    with reading(db.engine) as connection:
        clock: datetime = connection.execute(sa.select(database_now(connection))).scalar_one()
    # The earlier one: a worker whose clock is ahead must not delete runs that are not old.
    limit = min(now, clock)
    done = delete_old(
        db.engine,
        found,
        limit,
        on_progress=on_progress,
        on_deleted=sending.tell_pages,
        max_seconds=MAX_CLEANING_SECONDS,
    )
    if not done.finished:
        further = create_run(db.session, TASK, origin=Origin.TASK, parent_id=run_id)
        db.session.commit()
        service.send_runs([further])
    return {"deleted": done.deleted, "finished": done.finished}


def delete_old(
    engine: sa.Engine,
    found: Rules,
    now: datetime,
    *,
    pause: Callable[[], None] = lambda: time.sleep(PAUSE_SECONDS),
    on_progress: Callable[[int], None] = lambda _: None,
    on_deleted: Callable[[list[str]], object] = lambda _: None,
    max_seconds: float,
) -> Cleaned:
    """Delete, for at most `max_seconds` seconds. `pause` is called between transactions.

    After each batch `on_progress` is called with the sum so far, and `on_deleted` with the ids of the runs.
    """
    give_up = time.monotonic() + max_seconds
    deleted: dict[str, int] = {}
    for state, days in found.items():
        if days is None:
            continue
        for ids in _batches(engine, state, now - timedelta(days=days)):
            deleted[state.value] = deleted.get(state.value, 0) + _delete(engine, state, ids, pause)
            on_progress(sum(deleted.values()))
            on_deleted(ids)
            if time.monotonic() > give_up:
                return Cleaned(deleted, finished=False)
            pause()
    return Cleaned(deleted)


def _batches(engine: sa.Engine, state: RunState, limit: datetime) -> Iterator[list[str]]:
    """The ids to delete, in batches, oldest first. No row is read twice."""
    place = sa.tuple_(Run.created_at, Run.id)
    columns = (Run.id, Run.created_at, Run.ended_at, Run.schedule_id, Run.due_at)
    walk = sa.select(*columns).where(Run.state == state.value, Run.created_at < limit)
    walk = walk.order_by(Run.created_at, Run.id).limit(BATCH_SIZE)
    after: list[sa.ColumnElement[bool]] = []
    while True:
        with reading(engine) as connection:
            rows = list(connection.execute(walk.where(*after)))
            passed = _fired_until(connection, {row.schedule_id for row in rows if row.schedule_id is not None})
        chosen = [row.id for row in rows if _is_deletable(row, limit, passed)]
        if chosen:
            yield chosen
        if len(rows) < BATCH_SIZE:
            return
        last = rows[-1]
        after = [place > sa.tuple_(sa.bindparam(None, last.created_at, Run.created_at.type), last.id)]


def _is_deletable(row: Any, limit: datetime, passed: Mapping[int, datetime]) -> bool:
    """Whether all moments of a run lie before the limit, and its due time cannot come again."""
    if (row.ended_at or row.created_at) >= limit or (row.due_at is not None and row.due_at >= limit):
        return False
    return row.due_at is None or row.schedule_id not in passed or row.due_at <= passed[row.schedule_id]


def _fired_until(connection: sa.Connection, schedule_ids: set[int]) -> dict[int, datetime]:
    """The moment up to which a schedule cannot fire any more. Disabled and deleted ones cannot at all and are absent.

    Enabling is a change, and due times after a change never lie before it.
    """
    query = (
        sa.select(PeriodicTask.id, ScheduleDetail.changed_at, ScheduleProgress.last_due_at)
        .join(ScheduleDetail, ScheduleDetail.schedule_id == PeriodicTask.id)
        .outerjoin(ScheduleProgress, ScheduleProgress.schedule_id == PeriodicTask.id)
        .where(PeriodicTask.id.in_(schedule_ids), PeriodicTask.enabled)
    )
    long_ago = datetime.min.replace(tzinfo=UTC)
    return {row.id: max(row.changed_at or long_ago, row.last_due_at or long_ago) for row in connection.execute(query)}


def _delete(engine: sa.Engine, state: RunState, ids: list[str], pause: Callable[[], None]) -> int:
    """Delete these runs if they are still in that state, and before them their log lines."""
    some = sa.select(RunLine.id).where(RunLine.run_id.in_(ids)).limit(LINE_BATCH_SIZE)
    while True:
        with engine.begin() as connection:
            lines = connection.execute(sa.delete(RunLine).where(RunLine.id.in_(some))).rowcount
            if lines < LINE_BATCH_SIZE:
                chosen = (Run.id.in_(sorted(ids)), Run.state == state.value)
                return connection.execute(sa.delete(Run).where(*chosen)).rowcount
        pause()
