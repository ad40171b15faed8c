"""Who is alive and what waits, for pages: read from `workers`, `runs` and the broker."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from webapp.encoding import encodable_value
from webapp.extensions import db
from webapp.liveness import FOREIGN_WORKER_GONE_AFTER, FORGOTTEN_AFTER
from webapp.messaging import broker
from webapp.messaging.celery_config import DEFAULT_QUEUE
from webapp.run_store.models import Run
from webapp.run_store.states import ACTIVE, RunState
from webapp.run_store.worker_models import QueueConsumer, Worker

# So many of the oldest queued runs are looked at for how long each queue makes them wait.
MAX_OLDEST_RUNS = 5_000
MAX_OTHER_CONSUMERS = 100


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """A worker as the page shows it. `busy` is how many runs it executes now."""

    worker: Worker
    alive: bool
    busy: int
    queues: list[str]
    versions: dict[str, str]

    @property
    def slots(self) -> int:
        """How many runs it can execute now, without growing first."""
        return max(self.worker.autoscale_now or self.worker.concurrency, self.busy)

    def knows(self, task: str) -> bool:
        """Whether it has a task of this name registered."""
        return task in _parse_json(self.worker.tasks, [])


@dataclass(frozen=True, slots=True)
class QueueRow:
    """A queue. `depth` is None where the broker does not say; `oldest` is when its oldest waiting run was sent.

    `others` are consumers that are not ours and claim no runs.
    """

    name: str
    depth: int | None
    workers: list[str]
    others: list[str]
    oldest: datetime | None


@dataclass(frozen=True, slots=True)
class Queues:
    """All known queues, and what is wrong with the broker, if anything is."""

    rows: list[QueueRow]
    away: str | None


def workers(now: datetime) -> list[WorkerRow]:
    """The living ones first, then those that went within a day, each by name."""
    seen = db.session.scalars(sa.select(Worker).where(Worker.seen_at > now - FORGOTTEN_AFTER).order_by(Worker.name))
    claimed = (
        sa.select(Run.claimed_by, sa.func.count().label("runs"))
        .where(Run.state.in_(sorted(ACTIVE)), Run.claimed_by.is_not(None))
        .group_by(Run.claimed_by)
    )
    busy: dict[str | None, int] = {row.claimed_by: row.runs for row in db.session.execute(claimed)}
    rows = [
        WorkerRow(
            worker,
            worker.alive(now),
            busy.get(worker.id, 0),
            _parse_json(worker.queues, []),
            _parse_json(worker.versions, {}),
        )
        for worker in seen
    ]
    return sorted(rows, key=lambda row: not row.alive)


def queue_names(now: datetime) -> list[str]:
    """The queues that living workers take from, and the default one."""
    alive = sa.select(Worker.queues).where(Worker.alive(now))
    names = {name for text in db.session.scalars(alive) for name in _parse_json(text, [])}
    return sorted(names | {DEFAULT_QUEUE})


def queues(now: datetime) -> Queues:
    """Each queue that somebody takes from or that runs wait in. Never waits long for a broker that is away."""
    alive = [row for row in workers(now) if row.alive]
    oldest = _oldest()
    others = other_consumers(now)
    names = sorted({DEFAULT_QUEUE} | {name for row in alive for name in row.queues} | set(oldest) | set(others))
    try:
        depths, away = broker.queue_depths(names), None
    except broker.BrokerAway as error:
        depths, away = dict.fromkeys(names), str(error)
    rows = [
        QueueRow(
            name,
            depths.get(name),
            [row.worker.name for row in alive if name in row.queues],
            others.get(name, []),
            oldest.get(name),
        )
        for name in names
    ]
    return Queues(rows, away)


def other_consumers(now: datetime) -> dict[str, list[str]]:
    """The nodes that answered lately, consume a queue and are not ours, by queue; of so many queues at most."""
    statement = (
        sa.select(QueueConsumer.queue, QueueConsumer.node)
        .where(QueueConsumer.claims.is_(False), QueueConsumer.seen_at > now - FOREIGN_WORKER_GONE_AFTER)
        .order_by(QueueConsumer.queue, QueueConsumer.node)
        .limit(MAX_OTHER_CONSUMERS)
    )
    found: dict[str, list[str]] = {}
    for queue, node in db.session.execute(statement):
        found.setdefault(queue, []).append(node)
    return found


def _oldest() -> dict[str, datetime]:
    """When the oldest waiting run of each queue could have begun."""
    # Taken together by the database: thousands of rows take 15 ms only to come here.
    ready = sa.case((Run.eta > Run.created_at, Run.eta), else_=Run.created_at).label("ready")
    waiting = (
        sa.select(sa.func.coalesce(Run.queue, DEFAULT_QUEUE).label("queue"), ready)
        .where(Run.state == RunState.QUEUED)
        .order_by(Run.created_at, Run.id)
        .limit(MAX_OLDEST_RUNS)
        .subquery()
    )
    oldest = sa.select(waiting.c.queue, sa.func.min(waiting.c.ready)).group_by(waiting.c.queue)
    return dict(tuple(row) for row in db.session.execute(oldest))


def _parse_json(text: str, default: Any) -> Any:
    try:
        return encodable_value(json.loads(text))
    except (ValueError, RecursionError):
        return default
