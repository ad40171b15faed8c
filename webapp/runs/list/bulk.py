"""Retry or cancel all runs that a search finds: first a count to confirm, then one transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from webapp.extensions import db
from webapp.identity import own_tasks
from webapp.identity.audit import record
from webapp.messaging import broker
from webapp.run_store import sending
from webapp.run_store.creation import create_run
from webapp.run_store.models import Run
from webapp.run_store.states import ENDED, UNENDED, Origin, RunState
from webapp.runs import control, service
from webapp.runs.list import listing
from webapp.runs.list.listing import Edge
from webapp.runs.list.search import Search
from webapp.web.errors import Conflict, Invalid

# More take a second request, which keeps each transaction short.
MAX_BULK_RUNS = 1_000


@dataclass(frozen=True, slots=True)
class Proposal:
    """The runs that an action would concern, by state, up to `MAX_BULK_RUNS` from the row `top` on."""

    by_state: dict[str, int]
    top: Edge | None
    more: bool

    @property
    def count(self) -> int:
        """How many runs it concerns."""
        return sum(self.by_state.values())


@dataclass(frozen=True, slots=True)
class Done:
    """The outcome. `refused` runs could not be retried; of `requested` ones the workers were asked to end them."""

    done: int = 0
    requested: int = 0
    refused: int = 0
    broker_away: bool = False


def proposal(search: Search, now: datetime, *, ended: bool) -> Proposal:
    """The runs that a retry (`ended`) or a cancellation of all matching runs would concern."""
    rows = _rows(search, now, None, ended=ended)
    states = Counter(row.state for row in rows[:MAX_BULK_RUNS])
    return Proposal(dict(states), Edge.of(rows[0]) if rows else None, len(rows) > MAX_BULK_RUNS)


def _rows(search: Search, now: datetime, top: Edge | None, *, ended: bool) -> list[Any]:
    wanted = ENDED if ended else UNENDED
    states = tuple(state for state in (search.states or RunState) if state in wanted)
    if not states:
        return []
    return listing.matching(replace(search, states=states), now, top, MAX_BULK_RUNS + 1)


def retry_all(search: Search, now: datetime, top: Edge | None, *, person: int) -> Done:
    """Create a new run for each matching run that has ended, from `top` on; later runs are left alone."""
    ids = [row.id for row in _rows(search, now, top, ended=True)[:MAX_BULK_RUNS]]
    made: list[Run] = []
    refused = 0
    for origin in _load(ids):
        if reason := own_tasks.refusal(origin.task):
            own_tasks.note(reason, kind="run", number=origin.id, name=origin.task)
            refused += 1
            continue
        try:
            args, kwargs = service.call_of(origin)
            service.check_call(origin.task, args, kwargs, origin.queue, repeated=True)
        except (Invalid, Conflict):
            refused += 1
            continue
        run = create_run(
            db.session,
            origin.task,
            args,
            kwargs,
            origin=Origin.RETRY,
            created_by=person,
            retry_of=origin.id,
            queue=origin.queue,
            priority=origin.priority,
        )
        record(db.session, "run.retry", "run", run.id, run.task, None, {"retry_of": origin.id, "in bulk": True})
        made.append(run)
    db.session.commit()
    service.send_runs(made)
    return Done(len(made), refused=refused)


def cancel_all(search: Search, now: datetime, top: Edge | None) -> Done:
    """Cancel each matching run that waits, and ask the workers to terminate those that have started."""
    ids = [row.id for row in _rows(search, now, top, ended=False)[:MAX_BULK_RUNS]]
    ended: list[tuple[str, str]] = []
    running: list[tuple[str, str]] = []
    for part in _batches(ids):
        ended += control.end_waiting(part, now)
        running += control.request_termination(part)
    for run_id, task in ended:
        record(db.session, "run.cancel", "run", run_id, task, None, {"state": RunState.REVOKED, "in bulk": True})
    for run_id, task in running:
        record(db.session, "run.cancel", "run", run_id, task, None, {**control.TERMINATION_REQUESTED, "in bulk": True})
    db.session.commit()
    sending.tell_pages([run_id for run_id, _ in ended + running])
    return _revoke([run_id for run_id, _ in ended], [run_id for run_id, _ in running])


def _revoke(ended: list[str], running: list[str]) -> Done:
    with suppress(broker.BrokerAway):
        if ended:
            broker.revoke(ended, terminate=False)
    try:
        if running:
            broker.revoke(running, terminate=True)
    except broker.BrokerAway:
        return Done(len(ended), broker_away=True)
    return Done(len(ended), len(running))


def _load(ids: Sequence[str]) -> Iterable[Run]:
    for part in _batches(ids):
        yield from db.session.scalars(sa.select(Run).where(Run.id.in_(part)).order_by(Run.created_at))


def _batches(ids: Sequence[str], size: int = 500) -> Iterable[Sequence[str]]:
    """The ids in batches: SQLite limits the number of parameters in a statement."""
    for start in range(0, len(ids), size):
        yield ids[start : start + size]
