"""Queues with waiting runs and without a consumer, read along an index of waiting runs only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from webapp.database.dialects import along
from webapp.database.engine import UtcDateTime
from webapp.extensions import db
from webapp.liveness import FOREIGN_WORKER_GONE_AFTER, FORGOTTEN_AFTER
from webapp.messaging.celery_config import DEFAULT_QUEUE
from webapp.run_store.worker_models import QueueConsumer, Worker
from webapp.workers.capacity import queue_names_in

# How many of the oldest waiting runs are counted in all queues; beyond that fewer for each further queue.
MAX_COUNTED, MAX_COUNTED_FURTHER = 1_000, 50

# A loose index scan: from one name to the next, each by one lookup.
_NAMES = (
    "WITH RECURSIVE names(queue) AS (SELECT * FROM (SELECT queue FROM {runs} "
    "WHERE state = 'queued' AND queue IS NOT NULL ORDER BY queue LIMIT 1) AS first UNION ALL SELECT "
    "(SELECT queue FROM {runs} WHERE state = 'queued' AND queue > names.queue ORDER BY queue LIMIT 1) FROM names "
    "WHERE names.queue IS NOT NULL) SELECT queue FROM names WHERE queue IS NOT NULL "
    "UNION ALL SELECT NULL WHERE EXISTS (SELECT 1 FROM {runs} WHERE state = 'queued' AND queue IS NULL)"
)
_OLDEST = (
    "SELECT count(*), min(ready) FROM (SELECT CASE WHEN eta > created_at THEN eta ELSE created_at END AS ready "
    "FROM {runs} WHERE state = 'queued' AND queue {which} ORDER BY created_at LIMIT :most) AS waiting"
)


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The last heartbeat of a worker, and the queues that it consumed then."""

    name: str
    queues: frozenset[str]
    seen_at: datetime
    stopped_at: datetime | None
    alive: bool


@dataclass(frozen=True, slots=True)
class Unconsumed:
    """A queue that no online worker consumes.

    At least `count` runs wait in it, the oldest since `since`; `consumed_at` is the last heartbeat of a consumer, None
    if there was none within a day.
    """

    queue: str
    count: int
    since: datetime
    consumed_at: datetime | None


def heartbeats(now: datetime) -> list[Heartbeat]:
    """The last heartbeats of all workers within a day, latest first."""
    query = (
        sa.select(Worker.name, Worker.queues, Worker.seen_at, Worker.stopped_at, Worker.alive(now))
        .where(Worker.seen_at > now - FORGOTTEN_AFTER)
        .order_by(Worker.seen_at.desc())
    )
    return [Heartbeat(row[0], queue_names_in(row[1]), row[2], row[3], row[4]) for row in db.session.execute(query)]


def unconsumed(workers: Sequence[Heartbeat], now: datetime) -> list[Unconsumed]:
    """The queues with waiting runs that no worker consumes, the one with the oldest run first."""
    consumed = set().union(*(worker.queues for worker in workers if worker.alive))
    waiting = db.session.scalars(sa.text(_NAMES.format(runs=_runs()))).all()
    unknown = [given for given in waiting if (given or DEFAULT_QUEUE) not in consumed]
    others = _consumed_by_others() if unknown else {}
    found: dict[str, Unconsumed] = {}
    total = 0
    for given in unknown:
        name = given or DEFAULT_QUEUE
        if name in others and others[name] > now - FOREIGN_WORKER_GONE_AFTER:
            continue
        count, since = _oldest(given, max(MAX_COUNTED - total, MAX_COUNTED_FURTHER))
        total += count
        if since is not None:
            former = found.get(name)
            if former is not None:
                count, since = count + former.count, min(since, former.since)
            found[name] = Unconsumed(name, count, since, _last_seen(name, workers) or others.get(name))
    return sorted(found.values(), key=lambda queue: queue.since)


def _consumed_by_others() -> dict[str, datetime]:
    """When another program's worker last reported that it consumes a queue, by name of queue."""
    last = sa.func.max(QueueConsumer.seen_at, type_=UtcDateTime())
    query = sa.select(QueueConsumer.queue, last).where(~QueueConsumer.claims).group_by(QueueConsumer.queue)
    return {row.queue: row[1] for row in db.session.execute(query)}


def _oldest(queue: str | None, most: int) -> tuple[int, datetime | None]:
    statement = sa.text(_OLDEST.format(runs=_runs(), which="IS NULL" if queue is None else "= :queue"))
    given = {"most": most} | ({} if queue is None else {"queue": queue})
    columns = statement.columns(sa.column("count", sa.Integer), sa.column("ready", UtcDateTime))
    count, since = db.session.execute(columns, given).one()
    return count, since


def _runs() -> str:
    # Without statistics SQLite would read all queued runs along another index.
    return along(db.engine, "runs", "ix_runs_waiting")


def _last_seen(queue: str, workers: Iterable[Heartbeat]) -> datetime | None:
    return max((worker.stopped_at or worker.seen_at for worker in workers if queue in worker.queues), default=None)
