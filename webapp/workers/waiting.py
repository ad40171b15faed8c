"""Queues in which runs wait and that no worker consumes. Read along an index of what waits, whatever else is kept."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from webapp.celery_config import DEFAULT_QUEUE
from webapp.database import UtcDateTime
from webapp.extensions import db
from webapp.liveness import WORKER_GONE_AFTER
from webapp.workers.models import Worker

# Of a queue, so many of the runs that have waited longest are counted.
MAX_COUNTED = 10_000
# Workers that were last seen before are not asked what they consumed.
REMEMBERED = timedelta(days=1)

# From one name to the next, each by one look into the index.
_NAMES = sa.text(
    "WITH RECURSIVE names(queue) AS (SELECT min(queue) FROM runs WHERE state = 'queued' UNION ALL "
    "SELECT (SELECT min(queue) FROM runs WHERE state = 'queued' AND queue > names.queue) FROM names "
    "WHERE names.queue IS NOT NULL) SELECT queue FROM names WHERE queue IS NOT NULL "
    "UNION ALL SELECT NULL WHERE EXISTS (SELECT 1 FROM runs WHERE state = 'queued' AND queue IS NULL)"
)
_OLDEST = (
    "SELECT count(*), min(ready) FROM (SELECT CASE WHEN eta > created_at THEN eta ELSE created_at END AS ready "
    "FROM runs WHERE state = 'queued' AND {condition} ORDER BY created_at LIMIT :most) AS waiting"
)
_IN_QUEUE = sa.text(_OLDEST.format(condition="queue = :queue"))
_IN_NO_QUEUE = sa.text(_OLDEST.format(condition="queue IS NULL"))


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The last one of a worker; `queues` are those that it consumed then."""

    name: str
    queues: frozenset[str]
    seen_at: datetime
    stopped_at: datetime | None

    def alive(self, now: datetime) -> bool:
        """Whether it did not stop, and is not silent for too long. `now` is the database's clock."""
        return self.stopped_at is None and self.seen_at > now - timedelta(seconds=WORKER_GONE_AFTER)


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
        sa.select(Worker.name, Worker.queues, Worker.seen_at, Worker.stopped_at)
        .where(Worker.seen_at > now - REMEMBERED)
        .order_by(Worker.seen_at.desc())
    )
    return [Heartbeat(row.name, _names(row.queues), row.seen_at, row.stopped_at) for row in db.session.execute(query)]


def unconsumed(workers: Sequence[Heartbeat], now: datetime) -> list[Unconsumed]:
    """Those of all queues in which runs wait, the one with the oldest run first."""
    consumed = set().union(*(worker.queues for worker in workers if worker.alive(now)))
    found: dict[str, Unconsumed] = {}
    for given in db.session.scalars(_NAMES).all():
        name = given or DEFAULT_QUEUE
        if name in consumed:
            continue
        count, since = _oldest(given)
        if since is not None:
            former = found.get(name)
            if former is not None:
                count, since = count + former.count, min(since, former.since)
            found[name] = Unconsumed(name, count, since, _last_seen(name, workers))
    return sorted(found.values(), key=lambda queue: queue.since)


def _oldest(queue: str | None) -> tuple[int, datetime | None]:
    statement = _IN_NO_QUEUE if queue is None else _IN_QUEUE
    given = {"most": MAX_COUNTED} | ({} if queue is None else {"queue": queue})
    columns = statement.columns(sa.column("count", sa.Integer), sa.column("ready", UtcDateTime))
    count, since = db.session.execute(columns, given).one()
    return count, since


def _last_seen(queue: str, workers: Iterable[Heartbeat]) -> datetime | None:
    return max((worker.stopped_at or worker.seen_at for worker in workers if queue in worker.queues), default=None)


def _names(text: str) -> frozenset[str]:
    try:
        return frozenset(str(name) for name in json.loads(text))
    except (ValueError, TypeError):
        return frozenset()
