"""Workers and queues for pages and metrics, from the tables `workers` and `runs` and from the broker."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from beatdesk.encoding import parse_json
from webapp.extensions import db
from webapp.liveness import FOREIGN_WORKER_GONE_AFTER, FORGOTTEN_AFTER
from webapp.messaging import broker
from webapp.messaging.celery_config import DEFAULT_QUEUE
from webapp.run_store.models import Run
from webapp.run_store.states import ACTIVE, RunState
from webapp.run_store.worker_models import QueueConsumer, Worker

# How many of the oldest queued runs are searched for the oldest one of each queue.
MAX_OLDEST_RUNS = 5_000
MAX_OTHER_CONSUMERS = 100


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """A worker as the page shows it. `busy` is the number of runs that it executes now."""

    worker: Worker
    alive: bool
    busy: int
    queues: list[str]
    versions: dict[str, str]

    @property
    def slots(self) -> int:
        """How many runs it can execute now, before it scales up."""
        return max(self.worker.autoscale_now or self.worker.concurrency, self.busy)

    def knows(self, task: str) -> bool:
        """Whether it has a task of this name registered."""
        return task in parse_json(self.worker.tasks, [])


@dataclass(frozen=True, slots=True)
class QueueRow:
    """A queue. `depth` is None if the broker does not report it; `oldest` is when its oldest waiting run was ready.

    `others` are consumers of other programs, which claim no runs.
    """

    name: str
    depth: int | None
    workers: list[str]
    others: list[str]
    oldest: datetime | None


@dataclass(frozen=True, slots=True)
class Queues:
    """All known queues, and the broker's error, if there is one."""

    rows: list[QueueRow]
    away: str | None


def workers(now: datetime) -> list[WorkerRow]:
    """The workers: first those that are online, then those that were within a day, each by name."""
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
            parse_json(worker.queues, []),
            parse_json(worker.versions, {}),
        )
        for worker in seen
    ]
    return sorted(rows, key=lambda row: not row.alive)


def queue_names(now: datetime) -> list[str]:
    """The queues that online workers consume, those of other projects included, and the default one."""
    alive = sa.select(Worker.queues).where(Worker.alive(now))
    names = {name for text in db.session.scalars(alive) for name in parse_json(text, [])}
    return sorted(names | {DEFAULT_QUEUE, *other_consumers(now)})


def queues(now: datetime) -> Queues:
    """Each queue that has a consumer or a waiting run. Never waits long for a broker that does not answer."""
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
    """The nodes of other programs that reported lately, by the queue that they consume; limited."""
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
    """When the oldest waiting run of each queue was ready to start."""
    # Grouped by the database: fetching thousands of rows takes 15 ms.
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
