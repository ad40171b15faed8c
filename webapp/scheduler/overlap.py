"""Overlap policies: what happens when a schedule comes due while its last run has not ended.

- allow: it fires.
- skip: the due time is skipped.
- queue one: its run is held until the other one has ended; while one is held that way, further due times are skipped.
- cancel other: a run that is being executed is ended, and it fires. Of the runs that wait, only the newest stays, and
  it takes the place that the others had: its message goes before those that wait in its queue. Behind them, under a
  schedule that comes due more often than its queue gets round, none would ever begin.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import sqlalchemy as sa

from webapp.database.moments import moment
from webapp.run_store import statements
from webapp.run_store.statements import Unended
from webapp.run_store.states import IDLE, RunState
from webapp.schedule_store.models import Overlap
from webapp.scheduler.plan import Occurrence, Plan


class Resolved(NamedTuple):
    """The plans as they are then, and what is to be done after the commit.

    Runs to be ended by their workers, revoked runs whose messages workers may drop, and the schedules whose runs are
    sent ahead of what waits.
    """

    plans: list[Plan]
    to_end: list[str]
    to_drop: list[str]
    ahead: set[int]


def resolve(connection: sa.Connection, plans: Sequence[Plan], now: float) -> Resolved:
    """Apply the policies."""
    resolved = Resolved([], [], [], set())
    concerned = [made.entry.id for made in plans if made.entry.policy.overlap != Overlap.ALLOW and _fires(made)]
    if not concerned:
        return resolved._replace(plans=list(plans))
    unended: dict[int, list[Unended]] = defaultdict(list)
    for run in statements.unended_of(connection, concerned):
        unended[run.schedule_id].append(run)
    replaced: dict[str, int] = {}
    for made in plans:
        others = unended.get(made.entry.id, [])
        match made.entry.policy.overlap:
            case Overlap.SKIP:
                resolved.plans.append(_skip(made, others))
            case Overlap.QUEUE_ONE:
                resolved.plans.append(_queue_one(made, others))
            case Overlap.CANCEL_OTHER:
                resolved.plans.append(_only_newest(made))
                replaced |= {run.id: made.entry.id for run in others if run.state in IDLE}
                resolved.to_end.extend(run.id for run in others if run.state not in IDLE)
                resolved.ahead.update(run.schedule_id for run in others if run.state == RunState.QUEUED)
            case _:
                resolved.plans.append(made)
    reason = "replaced by the next run; overlap: cancel other"
    revoked = statements.revoke_idle(connection, list(replaced), reason, moment(now))
    resolved.to_drop.extend(sorted(revoked))
    # A worker has begun these since they were read.
    resolved.to_end.extend(run_id for run_id in replaced if run_id not in revoked)
    return resolved


def _fires(made: Plan) -> bool:
    return any(occurrence.state is RunState.QUEUED for occurrence in made.occurrences)


def _skip(made: Plan, others: Sequence[Unended]) -> Plan:
    busy = _name(others[-1]) if others else ""
    kept = []
    for occurrence in made.occurrences:
        if occurrence.state is RunState.QUEUED:
            if busy:
                kept.append(Occurrence(occurrence.due, RunState.SKIPPED, f"{busy} has not ended; overlap: skip"))
                continue
            busy = f"the run of {moment(occurrence.due):%Y-%m-%d %H:%M:%S} UTC"
        kept.append(occurrence)
    return made._replace(occurrences=kept)


def _queue_one(made: Plan, others: Sequence[Unended]) -> Plan:
    busy = _name(others[-1]) if others else ""
    waiting = any(run.state == RunState.HELD and run.eta is None for run in others)
    kept = []
    for occurrence in made.occurrences:
        if occurrence.state is not RunState.QUEUED:
            kept.append(occurrence)
        elif not busy:
            busy = f"the run of {moment(occurrence.due):%Y-%m-%d %H:%M:%S} UTC"
            kept.append(occurrence)
        elif not waiting:
            waiting = True
            kept.append(Occurrence(occurrence.due, RunState.HELD, f"waits until {busy} has ended; overlap: queue one"))
        else:
            reason = f"{busy} has not ended and another run is waiting; overlap: queue one"
            kept.append(Occurrence(occurrence.due, RunState.SKIPPED, reason))
    return made._replace(occurrences=kept)


def _only_newest(made: Plan) -> Plan:
    fired = [occurrence.due for occurrence in made.occurrences if occurrence.state is RunState.QUEUED]
    reason = "replaced by a later run; overlap: cancel other"
    return made._replace(
        occurrences=[
            Occurrence(occurrence.due, RunState.SKIPPED, reason) if occurrence.due in fired[:-1] else occurrence
            for occurrence in made.occurrences
        ]
    )


def _name(run: Unended) -> str:
    return f"the run of {run.due_at:%Y-%m-%d %H:%M:%S} UTC" if run.due_at else f"the run {run.id}"
