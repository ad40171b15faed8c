"""What a schedule does that comes due while its last run has not ended.

- allow: it fires.
- skip: the due time is skipped.
- queue one: its run is held until the other one has ended; while one is held that way, further due times are skipped.
- cancel other: what waits is revoked, what runs is told to end, and it fires.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import sqlalchemy as sa

from webapp.runs import store
from webapp.runs.states import WAITING, RunState
from webapp.runs.store import Unended
from webapp.scheduler.database import moment
from webapp.scheduler.plan import Occurrence, Plan
from webapp.schedules.models import Overlap


def resolve(connection: sa.Connection, plans: Sequence[Plan], now: float) -> tuple[list[Plan], list[str]]:
    """Apply the policies.

    Returns the plans as they are then, and the ids of running runs to be ended after the commit.
    """
    concerned = [made.entry.id for made in plans if made.entry.policy.overlap != Overlap.ALLOW and _fires(made)]
    if not concerned:
        return list(plans), []
    unended: dict[int, list[Unended]] = defaultdict(list)
    for run in store.unended_of(connection, concerned):
        unended[run.schedule_id].append(run)
    to_revoke: list[str] = []
    to_end: list[str] = []
    resolved = []
    for made in plans:
        others = unended.get(made.entry.id, [])
        match made.entry.policy.overlap:
            case Overlap.SKIP:
                resolved.append(_skip(made, others))
            case Overlap.QUEUE_ONE:
                resolved.append(_queue_one(made, others))
            case Overlap.CANCEL_OTHER:
                resolved.append(_only_newest(made))
                if _fires(made):
                    to_revoke += [run.id for run in others if run.state in WAITING]
                    to_end += [run.id for run in others if run.state not in WAITING]
            case _:
                resolved.append(made)
    store.revoke_waiting(connection, to_revoke, "its schedule came due again; policy: cancel other", moment(now))
    return resolved, to_end


def _fires(made: Plan) -> bool:
    return any(occurrence.state is RunState.QUEUED for occurrence in made.occurrences)


def _skip(made: Plan, others: Sequence[Unended]) -> Plan:
    busy = _name(others[-1]) if others else ""
    kept = []
    for occurrence in made.occurrences:
        if occurrence.state is RunState.QUEUED:
            if busy:
                kept.append(Occurrence(occurrence.due, RunState.SKIPPED, f"{busy} has not ended; policy: skip"))
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
            kept.append(Occurrence(occurrence.due, RunState.HELD, f"waits until {busy} has ended; policy: queue one"))
        else:
            reason = f"{busy} has not ended and another one waits; policy: queue one"
            kept.append(Occurrence(occurrence.due, RunState.SKIPPED, reason))
    return made._replace(occurrences=kept)


def _only_newest(made: Plan) -> Plan:
    fired = [occurrence.due for occurrence in made.occurrences if occurrence.state is RunState.QUEUED]
    reason = "its schedule came due again at once; policy: cancel other"
    return made._replace(
        occurrences=[
            Occurrence(occurrence.due, RunState.SKIPPED, reason) if occurrence.due in fired[:-1] else occurrence
            for occurrence in made.occurrences
        ]
    )


def _name(run: Unended) -> str:
    return f"the run of {run.due_at:%Y-%m-%d %H:%M:%S} UTC" if run.due_at else f"the run {run.id}"
