"""Catching up after a pause: the due times that fell into it run as was chosen, in batches.

The pages only note that a pause ended, and the choice: one row, however many schedules it held. The leading beat does
the rest. For each batch of schedules, in one transaction with the lease's proof:

1. Take the next schedules, by number, that have skipped runs of this pause.
2. Leave alone those that were switched off or have a pause of their own; what another pause of everything or of tags
   still holds becomes that one's, and is decided about when it ends.
3. Of the others, choose the due times that run, apply the overlap policy and the maximum number of runs, and queue
   those runs. They are the skipped ones themselves: a due time still has one run.
4. Note how far it came, so that another beat goes on there.

When no schedule is left the pause is settled.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import sqlalchemy as sa
from celery.utils.log import get_logger

from webapp.database.moments import moment
from webapp.identity import audit
from webapp.run_store import statements
from webapp.run_store.statements import Sendable
from webapp.run_store.states import RunState
from webapp.schedule_store import pauses as rules
from webapp.schedule_store.entries import Entry
from webapp.schedule_store.models import Resume
from webapp.schedule_store.pause_rows import PAUSES
from webapp.schedule_store.pauses import Choice, Pause, covering
from webapp.schedule_store.rows import rows_by_id
from webapp.scheduler import overlap, progress
from webapp.scheduler.clock import Clock
from webapp.scheduler.dispatch import FIRED
from webapp.scheduler.leader import Lease
from webapp.scheduler.loaded_schedules import Schedules
from webapp.scheduler.plan import MAX_CAUGHT_UP, Occurrence, Plan
from webapp.scheduler.sending.publisher import Publisher

logger = get_logger(__name__)

# Schedules in one transaction, and about how many of their runs: what comes due meanwhile waits for its end.
BATCH = 400
RUNS_IN_BATCH = 1000
# Messages that may wait to be sent before more are made: what comes due stands in line behind them.
MAX_UNSENT = 2000
# Runs of one schedule that are looked at, newest first, where at most one of those that came due in time can run.
MAX_SKIPPED = 20


class Skipped(NamedTuple):
    """A run that a pause kept from firing."""

    id: str
    schedule_id: int
    version: int | None
    due: float


class Resuming:
    """Catches up after pauses that are over. `tally` counts the runs, for the library's own columns."""

    def __init__(  # noqa: PLR0917  # the parts of a beat, each once
        self,
        engine: sa.Engine,
        lease: Lease,
        clock: Clock,
        schedules: Schedules,
        publisher: Publisher,
        tally: dict[int, int],
    ) -> None:
        self._engine = engine
        self._lease = lease
        self._clock = clock
        self._schedules = schedules
        self._publisher = publisher
        self._tally = tally

    def step(self) -> bool:
        """One batch of one pause; whether there is more to do soon. Raises LeaseLost, or the database's errors."""
        if self.held_up:
            return True
        now = self._clock.now()
        for pause in self._schedules.pauses:
            if pause.ends_at is not None and pause.ends_at <= moment(now):
                first = self._schedules.agenda.next_at()
                # What came due during the pause and was not looked at yet has to be noted first.
                if first is None or first > pause.ends_at.timestamp():
                    self._go_on(pause, now)
                    return True
        return False

    @property
    def held_up(self) -> bool:
        """Whether so much waits to be sent that no more is made for now."""
        return self._publisher.waiting >= MAX_UNSENT

    def _go_on(self, pause: Pause, now: float) -> None:
        with self._engine.begin() as connection:
            self._lease.prove(connection)
            row = connection.execute(_over(pause, now).with_for_update()).one_or_none()
            ids = _next_schedules(connection, pause, row.caught_up_to) if row is not None else []
            if row is None or not ids:
                if row is not None:
                    _settle(connection, pause, row, now)
                # Without a row the pause was changed a moment ago, which this beat is about to read.
                self._schedules.pauses = [other for other in self._schedules.pauses if other.id != pause.id]
                return
            resolved = overlap.resolve(connection, self._plans(connection, pause, ids, now), now)
            plans = [_left(made) for made in resolved.plans]
            to_send = _queue(connection, pause, plans, now)
            counts = {made.entry.id: _count(made) for made in plans}
            steps = [_step(made, counts[made.entry.id]) for made in plans if counts[made.entry.id]]
            progress.count(connection, steps)
            progressed = {"caught_up_to": ids[-1], "caught_up": PAUSES.c.caught_up + sum(counts.values())}
            connection.execute(sa.update(PAUSES).where(PAUSES.c.id == pause.id).values(progressed))
        self._account(plans, steps, counts)
        self._publisher.submit(to_send)
        self._publisher.revoke(resolved.to_end, resolved.to_drop)

    def _plans(self, connection: sa.Connection, pause: Pause, ids: Sequence[int], now: float) -> list[Plan]:
        skipped: dict[int, list[Skipped]] = {}
        for run in _skipped(connection, pause, ids):
            skipped.setdefault(run.schedule_id, []).append(run)
        entries = {number: self._schedules.agenda.entries.get(number) for number in skipped}
        gone = {row.id: row for row in rows_by_id(connection, [number for number, it in entries.items() if it is None])}
        plans = []
        for number, runs in skipped.items():
            entry = entries[number]
            if entry is None and number in gone and gone[number].version == runs[-1].version:
                entry = self._schedules.ended(gone[number], now)
            if entry is None or entry.policy.paused(now):
                continue
            other = covering(self._schedules.pauses, entry.tags, moment(now))
            if other is not None:
                _hand_over(connection, pause, other, number)
                continue
            if chosen := _chosen(pause, entry, runs):
                plans.append(_plan(pause, entry, chosen))
        return plans

    def _account(self, plans: Sequence[Plan], steps: Sequence[progress.Step], counts: dict[int, int]) -> None:
        """What was committed, in memory too."""
        entries = {made.entry.id: made.entry for made in plans}
        for step in steps:
            entry = entries[step.schedule_id]
            entry.done = step.runs
            self._tally[entry.id] = self._tally.get(entry.id, 0) + counts[entry.id]
            if step.next_due is None and entry.next_due is not None:
                self._schedules.spent(entry)


def _over(pause: Pause, now: float) -> sa.Select[tuple[int, object, object]]:
    at = moment(now)
    over = (PAUSES.c.ended_at <= at) | (PAUSES.c.ends_at <= at)
    query = sa.select(PAUSES.c.caught_up_to, PAUSES.c.caught_up, PAUSES.c.ended_at)
    return query.where(PAUSES.c.id == pause.id, PAUSES.c.settled_at.is_(None), over)


def _waiting(pause: Pause) -> list[sa.ColumnElement[bool]]:
    """The runs that may have to be caught up."""
    runs = statements.runs.c
    found = [runs.pause_id == pause.id, runs.state == RunState.SKIPPED]
    if pause.on_resume == Resume.SKIP:
        # Only what was skipped after the end, before this was known here: found by when it was noted, which are few.
        found += [runs.created_at >= pause.ends_at, runs.due_at >= pause.ends_at]
    return found


def _next_schedules(connection: sa.Connection, pause: Pause, last: int) -> list[int]:
    number = statements.runs.c.schedule_id
    query = sa.select(number).where(*_waiting(pause), number > last).order_by(number).limit(RUNS_IN_BATCH)
    found = list(connection.execute(query).scalars())
    ids = list(dict.fromkeys(found))
    # Of the last one there may be more; it begins the next batch, unless it fills this one by itself.
    return (ids[:-1] if len(found) == RUNS_IN_BATCH and len(ids) > 1 else ids)[:BATCH]


def _skipped(connection: sa.Connection, pause: Pause, ids: Sequence[int]) -> list[Skipped]:
    """The newest skipped runs of these schedules, each schedule's in the order of their due times."""
    runs = statements.runs.c
    place = sa.func.row_number().over(partition_by=runs.schedule_id, order_by=runs.due_at.desc()).label("place")
    newest = (
        sa.select(runs.id, runs.schedule_id, runs.schedule_version, runs.due_at, place)
        .where(*_waiting(pause), runs.schedule_id.in_(ids))
        .subquery()
    )
    most = MAX_SKIPPED if pause.on_resume in (Resume.SKIP, Resume.ONCE) else MAX_CAUGHT_UP
    query = sa.select(newest).where(newest.c.place <= most).order_by(newest.c.schedule_id, newest.c.due_at)
    return [
        Skipped(row.id, row.schedule_id, row.schedule_version, row.due_at.timestamp())
        for row in connection.execute(query)
    ]


def _chosen(pause: Pause, entry: Entry, runs: Sequence[Skipped]) -> list[float]:
    ended = pause.ends_at.timestamp() if pause.ends_at is not None else 0.0
    choice = Choice(pause.on_resume, entry.policy.misfire, entry.policy.window)
    return rules.due_times_to_catch_up(choice, [run.due for run in runs], ended)


def _plan(pause: Pause, entry: Entry, dues: Sequence[float]) -> Plan:
    reason = f"caught up after a pause: {pause.reason}" if pause.reason else "caught up after a pause"
    return Plan(entry, [Occurrence(due, RunState.QUEUED, reason) for due in dues], dues[-1], entry.next_due)


def _left(made: Plan) -> Plan:
    """No more than the maximum number of runs leaves: the first ones."""
    most = made.entry.recurrence.max_runs
    if most is None:
        return made
    left, kept = most - made.entry.done, []
    for occurrence in made.occurrences:
        if occurrence.state in FIRED:
            if left <= 0:
                continue
            left -= 1
        kept.append(occurrence)
    return made._replace(occurrences=kept)


def _step(made: Plan, count: int) -> progress.Step:
    entry, runs = made.entry, made.entry.done + count
    most = entry.recurrence.max_runs
    spent = most is not None and runs >= most
    return progress.Step(entry.id, made.last_due, None if spent else entry.next_due, runs, entry.revision)


def _count(made: Plan) -> int:
    return sum(occurrence.state in FIRED for occurrence in made.occurrences)


def _queue(connection: sa.Connection, pause: Pause, plans: Sequence[Plan], now: float) -> list[Sendable]:
    """Queue the runs; those that the overlap policy keeps from it get its reason. Gives what is to be sent."""
    values = []
    for made in plans:
        limit = made.entry.policy.expire_seconds
        expires = made.entry.policy.expires if limit is None else now + limit
        for occurrence in made.occurrences:
            fired = occurrence.state in FIRED
            values.append(
                statements.MadeUp(
                    made.entry.id,
                    moment(occurrence.due),
                    occurrence.state.value,
                    occurrence.reason,
                    moment(now),
                    moment(expires) if fired and expires is not None else None,
                    None if fired else moment(now),
                )
            )
    return statements.make_up_for(connection, pause.id, values)


def _hand_over(connection: sa.Connection, pause: Pause, other: Pause, schedule_id: int) -> None:
    runs = statements.runs.c
    mine = (runs.pause_id == pause.id, runs.schedule_id == schedule_id, runs.state == RunState.SKIPPED)
    connection.execute(sa.update(statements.runs).where(*mine).values(pause_id=other.id))


def _settle(connection: sa.Connection, pause: Pause, row: sa.Row[tuple[int, object, object]], now: float) -> None:
    connection.execute(sa.update(PAUSES).where(PAUSES.c.id == pause.id).values(settled_at=moment(now)))
    if row.ended_at is None:
        after = {"on_resume": pause.on_resume, "made_up_for": row.caught_up}
        audit.note(connection, "beat", "pause.end", ("pause", pause.id, pause.reason), after=after)
    logger.info("Pause %s has ended: %s runs were caught up.", pause.id, row.caught_up)
