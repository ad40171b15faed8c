"""Queues in which runs wait and that no worker consumes. Read along an index of what waits, whatever else is kept."""

from __future__ import annotations

import json
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

# So many of the runs that have waited longest are counted; of each further queue fewer.
MAX_COUNTED, MAX_COUNTED_FURTHER = 1_000, 50

# From one name to the next, each by one look into the index.
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
    """The last one of a worker; `queues` are those that it consumed then."""

    name: str
    queues: frozenset[str]
    seen_at: datetime
    stopped_at: datetime | None
    alive: bool


@dataclass(frozen=True, slots=True)
class Unconsumed:
    """A queue that no living worker consumes.

    At least `count` runs wait in it, the oldest since `since`; `consumed_at` is the last heartbeat of a consumer, None
    where there was none within a day.
    """

    queue: str
    count: int
    since: datetime
    consumed_at: datetime | None


def heartbeats(now: datetime) -> list[Heartbeat]:
    """Of all workers of the last day, the latest first."""
    query = (
        sa.select(Worker.name, Worker.queues, Worker.seen_at, Worker.stopped_at, Worker.alive(now))
        .where(Worker.seen_at > now - FORGOTTEN_AFTER)
        .order_by(Worker.seen_at.desc())
    )
    return [Heartbeat(row[0], _names(row[1]), row[2], row[3], row[4]) for row in db.session.execute(query)]


def unconsumed(workers: Sequence[Heartbeat], now: datetime) -> list[Unconsumed]:
    """Those of all queues in which runs wait, the one with the oldest run first."""
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
    """When a worker that is not ours last said that it consumes a queue, by its name."""
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
    # Without statistics SQLite would read everything that is queued, along another index.
    return along(db.engine, "runs", "ix_runs_waiting")


def _last_seen(queue: str, workers: Iterable[Heartbeat]) -> datetime | None:
    return max((worker.stopped_at or worker.seen_at for worker in workers if queue in worker.queues), default=None)


def _names(text: str) -> frozenset[str]:
    try:
        return frozenset(str(name) for name in json.loads(text))
    except (ValueError, TypeError):
        return frozenset()
