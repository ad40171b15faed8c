"""Occurrences -> runs -> messages.

1. Plan each due schedule (`plan`).
2. In one transaction: prove the lease, apply the overlap policies, insert the runs, advance the schedules' progress,
   disable the finished ones.
3. After the commit, hand the queued runs to the publisher.

If the transaction fails, nothing has happened: the entries stay due and are tried again.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa

from beatdesk.execution.ids import due_run_id
from webapp.database.moments import moment
from webapp.run_store.creation import FIRE_MISSED, NewRun, insert
from webapp.run_store.statements import Sendable
from webapp.run_store.states import Origin, RunState
from webapp.scheduler import overlap, progress
from webapp.scheduler.leader import Lease
from webapp.scheduler.plan import Plan

# Due schedules in one transaction: enough that its commit costs little for each, few enough that the first do not wait.
BATCH = 1000


FIRED = (RunState.QUEUED, RunState.HELD)


class Outcome(NamedTuple):
    """What a transaction has made.

    Runs to send, those of them that go ahead of what waits, runs that are made and not sent, running runs to end,
    revoked runs whose messages are to be dropped, schedules that are finished, and how many runs each schedule got.
    """

    to_send: list[Sendable]
    ahead: list[Sendable]
    unsent: list[str]
    to_end: list[str]
    to_drop: list[str]
    finished: list[progress.Finished]
    fired: dict[int, int]


def dispatch(engine: sa.Engine, lease: Lease, plans: Sequence[Plan], now: float) -> Outcome:
    """Create the runs of these plans and advance their entries. Raises LeaseLost, or the database's errors."""
    with engine.begin() as connection:
        lease.prove(connection)
        resolved = overlap.resolve(connection, plans, now)
        plans = resolved.plans
        created = moment(now)
        runs = [_new_runs(made, now, created) for made in plans]
        new = {run.id: run for made in runs for run in made}
        inserted = insert(connection, list(new.values()), FIRE_MISSED)
        steps = [_step(made, of_it, inserted) for made, of_it in zip(plans, runs, strict=True)]
        progress.advance(connection, steps)
        finished = [progress.Finished(step.schedule_id, step.revision) for step in steps if step.next_due is None]
        progress.disable(connection, finished)
        lease.count_missed(connection, sum(new[made].state == RunState.MISSED for made in inserted))
    fired = {}
    for made, step in zip(plans, steps, strict=True):
        fired[step.schedule_id] = step.runs - made.entry.done
        made.entry.done = step.runs
        made.entry.expect(step.next_due)
    queued = [new[id_] for id_ in new if id_ in inserted and new[id_].state == RunState.QUEUED]
    to_send = [_sendable(run) for run in queued if run.schedule_id not in resolved.ahead]
    ahead = [_sendable(run) for run in queued if run.schedule_id in resolved.ahead]
    unsent = [id_ for id_ in new if id_ in inserted and new[id_].state != RunState.QUEUED] + resolved.to_drop
    return Outcome(to_send, ahead, unsent, resolved.to_end, resolved.to_drop, finished, fired)


def _new_runs(made: Plan, now: float, created: datetime) -> list[NewRun]:
    entry = made.entry
    target, policy = entry.target, entry.policy
    expires = policy.expires if policy.expire_seconds is None else now + policy.expire_seconds
    expires_at = None if expires is None else moment(expires)
    return [
        NewRun(
            due_run_id(entry.id, occurrence.due),
            target.task,
            occurrence.state,
            Origin.SCHEDULE,
            created,
            entry.args,
            entry.kwargs,
            entry.sealed,
            target.queue,
            target.priority,
            target.options,
            occurrence.reason,
            entry.id,
            entry.name,
            entry.version,
            moment(occurrence.due),
            occurrence.pause_id,
            expires_at if occurrence.state in FIRED else None,
            None if occurrence.state in FIRED else created,
        )
        for occurrence in made.occurrences
    ]


def _step(made: Plan, runs_of_it: Sequence[NewRun], inserted: set[str]) -> progress.Step:
    """How far the entry has come. A run that existed already was counted when it was made."""
    entry = made.entry
    fired = [run.id for run in runs_of_it if run.state in FIRED]
    counted = len(inserted.intersection(fired))
    runs = entry.done + counted
    next_due = made.next_due
    if next_due is None and counted < len(fired):
        next_due = entry.following(made.last_due, runs)
    return progress.Step(entry.id, made.last_due, next_due, runs, entry.revision)


def _sendable(run: NewRun) -> Sendable:
    return Sendable(
        run.id, run.task, run.args, run.kwargs, run.queue, run.priority, run.options, run.expires_at, sealed=run.sealed
    )
