"""The statements on runs that are only observed (see `promise`): noting their sending, finding and settling them.

A sending is noted before the message is published. A failure in between leaves a run that counts as sent, so that no
message of it is ever published twice; at worst none was, and the run becomes unconfirmed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa

from webapp.database.dialects import many, one_of
from webapp.database.engine import UtcDateTime
from webapp.run_store.promise import Consumers, guarded
from webapp.run_store.statements import WITHOUT_NOT_SENT, runs
from webapp.run_store.states import RunState, in_sql

# An unconfirmed run is looked up again between these two ages, each time at twice the age of the last.
LAST_LOOKUP = timedelta(days=1)
FIRST_LOOKUP = timedelta(minutes=1)


class Observed(NamedTuple):
    """An observed run that was sent and is not settled, with the fields that `destination_of` and `call_of` read."""

    id: str
    external_id: str | None
    task: str
    args: str
    kwargs: str
    sealed: str | None
    queue: str | None
    options: str | None
    origin: str
    state: str
    attempt: int
    claims: int
    worker: str | None
    sent_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None

    @property
    def task_id(self) -> str:
        """The id that its worker and the result backend know it by."""
        return self.external_id or self.id

    @property
    def taken(self) -> bool:
        """Whether a worker that claims nothing was the last to have it: it began it, or received it and no more."""
        received = self.state == RunState.QUEUED and self.worker is not None and not self.claims
        return received or self.state == RunState.STARTED


_COLUMNS = [runs.c[name] for name in Observed._fields]
_BEGUN = sorted((RunState.STARTED, RunState.RETRYING))


def note_sending(connection: sa.Connection, queues: Mapping[str, str | None], now: datetime) -> set[str]:
    """Note that these runs are about to be published, with the queue that each goes to. Commits nothing itself.

    Gives the ids of those that may be: queued, and not sent yet.
    """
    by_queue: dict[str | None, list[str]] = defaultdict(list)
    for run_id, queue in sorted(queues.items()):
        by_queue[queue].append(run_id)
    noted: set[str] = set()
    for queue, ids in by_queue.items():
        values = {"sent_at": now, "sends": runs.c.sends + 1, "queue": sa.func.coalesce(runs.c.queue, queue)}
        values["reason"] = sa.text(WITHOUT_NOT_SENT)
        waiting = (one_of(runs.c.id, many(ids)), runs.c.state == RunState.QUEUED, runs.c.sent_at.is_(None))
        statement = sa.update(runs).where(*waiting).values(**values).returning(runs.c.id)
        noted.update(connection.execute(statement).scalars())
    return noted


def take_back(connection: sa.Connection, ids: Sequence[str], noted_at: datetime) -> None:
    """Take back the notes of a moment for runs whose message was surely not published; they are sent later."""
    chosen = (one_of(runs.c.id, many(ids)), runs.c.sent_at == noted_at, runs.c.state == RunState.QUEUED)
    connection.execute(sa.update(runs).where(*chosen).values(sent_at=None, sends=runs.c.sends - 1))


def waiting(
    connection: sa.Connection, consumers: Consumers, after: tuple[datetime, str] | None, limit: int
) -> list[Observed]:
    """Queued and sent, oldest first, from behind a place on; among them may be some of queues that are guarded.

    Without those whose message has another id than they and that a worker of ours has in hand: the broker delivers them
    again if that worker is lost.
    """
    statement = sa.select(*_COLUMNS).where(sa.literal_column("state") == sa.literal_column("'queued'"))
    theirs = sa.or_(runs.c.external_id.is_(None), sa.and_(runs.c.worker.is_not(None), runs.c.claims == 0))
    statement = statement.where(runs.c.sent_at.is_not(None), theirs, ~guarded(consumers))
    if after is not None:
        sent_at, run_id = after
        behind = sa.or_(runs.c.sent_at > sent_at, sa.and_(runs.c.sent_at == sent_at, runs.c.id > run_id))
        statement = statement.where(behind)
    return _fetch(connection, statement.order_by(runs.c.sent_at, runs.c.id).limit(limit))


def begun(connection: sa.Connection, consumers: Consumers, after: str, limit: int) -> list[Observed]:
    """Started or retrying without a claim of a worker of ours, by id from behind one on."""
    statement = sa.select(*_COLUMNS).where(sa.text(in_sql("state", _BEGUN)))
    statement = statement.where(runs.c.claimed_by.is_(None), ~guarded(consumers), runs.c.id > after)
    return _fetch(connection, statement.order_by(runs.c.id).limit(limit))


def unconfirmed(connection: sa.Connection, now: datetime, since: datetime, limit: int) -> list[Observed]:
    """Those whose next lookup is due between two moments: a day after their end, half of one, a quarter …."""
    ages = [LAST_LOOKUP]
    while ages[-1] / 2 > FIRST_LOOKUP:
        ages.append(ages[-1] / 2)
    windows = [sa.and_(runs.c.ended_at > since - age, runs.c.ended_at <= now - age) for age in ages]
    chosen = (sa.literal_column("state") == sa.literal_column("'unconfirmed'"), sa.or_(*windows))
    return _fetch(connection, sa.select(*_COLUMNS).where(*chosen).limit(limit))


def _fetch(connection: sa.Connection, statement: sa.Select[Any]) -> list[Observed]:
    return [Observed._make(row) for row in connection.execute(statement)]


def begin(connection: sa.Connection, workers: Mapping[str, str | None], now: datetime) -> None:
    """Note that a worker which claims nothing has begun these runs; `workers` has its node name, if it is known."""
    for run_id, worker in sorted(workers.items()):
        chosen = (runs.c.id == run_id, runs.c.state.in_([RunState.QUEUED, RunState.UNCONFIRMED]))
        values = {"state": RunState.STARTED, "worker": worker, "reason": None, "ended_at": None}
        started = sa.func.coalesce(runs.c.started_at, now, type_=UtcDateTime())
        unclaimed = runs.c.claimed_by.is_(None)
        connection.execute(sa.update(runs).where(*chosen, unclaimed).values(**values, started_at=started))


def name_workers(connection: sa.Connection, workers: Mapping[str, str]) -> None:
    """Keep which worker executed runs that no worker of ours did."""
    for run_id, worker in sorted(workers.items()):
        chosen = (runs.c.id == run_id, runs.c.claimed_by.is_(None), runs.c.worker.is_(None))
        connection.execute(sa.update(runs).where(*chosen).values(worker=worker))


def give_up(connection: sa.Connection, reasons: Mapping[str, str], now: datetime) -> list[str]:
    """Take these runs for unconfirmed, unless a worker of ours has claimed one meanwhile. Gives the ids of those."""
    by_reason: dict[str, list[str]] = defaultdict(list)
    for run_id, reason in sorted(reasons.items()):
        by_reason[reason].append(run_id)
    given_up: list[str] = []
    for reason, ids in by_reason.items():
        chosen = (runs.c.id.in_(ids), runs.c.claimed_by.is_(None), runs.c.state.in_([RunState.QUEUED, *_BEGUN]))
        statement = sa.update(runs).where(*chosen).values(state=RunState.UNCONFIRMED, reason=reason, ended_at=now)
        given_up += connection.execute(statement.returning(runs.c.id)).scalars()
    return given_up


def name_queues(connection: sa.Connection, queues: Mapping[str, str]) -> None:
    """Keep the queue that a run's message went to where only a route or its task named it."""
    for run_id, queue in sorted(queues.items()):
        connection.execute(sa.update(runs).where(runs.c.id == run_id, runs.c.queue.is_(None)).values(queue=queue))
