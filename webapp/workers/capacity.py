"""How many runs can be executed at once: the slots of the workers that consume given queues."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import sqlalchemy as sa

from beatdesk.encoding import parse_json
from webapp.extensions import db
from webapp.run_store.worker_models import Worker

# How many workers, by last heartbeat, are searched for a queue that has no consumer now.
MAX_WORKERS = 200
# Former workers whose last heartbeats are no further apart ran at the same time.
SEEN_TOGETHER = timedelta(minutes=1)


class Standing(StrEnum):
    """The source of the number of slots."""

    ONLINE = "online"
    LAST_KNOWN = "last known"
    ASSUMED = "assumed"


@dataclass(frozen=True, slots=True)
class Pool:
    """Queues that share workers, and the slots of these together, at least one.

    `seen_at` is the last heartbeat where no worker is online; None where none was ever seen.
    """

    queues: tuple[str, ...]
    slots: int
    workers: tuple[str, ...] = ()
    standing: Standing = Standing.ASSUMED
    seen_at: datetime | None = None


def pools(queues: Iterable[str], now: datetime) -> list[Pool]:
    """The pools that serve these queues, by name of queue.

    1. Queues that one online worker consumes share its slots: they are one pool.
    2. A queue without an online worker has the slots of its last workers,
    3. or one slot if it never had a consumer.
    """
    wanted = sorted(set(queues))
    rows = db.session.scalars(sa.select(Worker).order_by(Worker.seen_at.desc()).limit(MAX_WORKERS)).all()
    consumed = {row.id: queue_names_in(row.queues) for row in rows}
    alive = [row for row in rows if row.alive(now)]
    return sorted(
        (_pool(part, rows, alive, consumed) for part in _parts(wanted, alive, consumed)), key=lambda pool: pool.queues
    )


def _pool(part: Set[str], rows: Sequence[Worker], alive: Sequence[Worker], consumed: Mapping[str, Set[str]]) -> Pool:
    queues = tuple(sorted(part))
    if online := [row for row in alive if consumed[row.id] & part]:
        return Pool(queues, _slots(online), tuple(sorted(row.name for row in online)), Standing.ONLINE)
    gone = [row for row in rows if consumed[row.id] & part]
    if not gone:
        return Pool(queues, 1)
    last = gone[0].seen_at
    together = [row for row in gone if last - row.seen_at <= SEEN_TOGETHER]
    return Pool(queues, _slots(together), tuple(row.name for row in together), Standing.LAST_KNOWN, last)


def _parts(queues: Sequence[str], alive: Sequence[Worker], consumed: Mapping[str, Set[str]]) -> list[set[str]]:
    """The queues, grouped: two of them are together if one worker consumes both."""
    parts = [{queue} for queue in queues]
    for worker in alive:
        joined = [part for part in parts if part & consumed[worker.id]]
        if len(joined) > 1:
            parts = [part for part in parts if part not in joined] + [set().union(*joined)]
    return parts


def _slots(workers: Iterable[Worker]) -> int:
    return max(1, sum(worker.concurrency for worker in workers))


def queue_names_in(text: str) -> frozenset[str]:
    """The names in the JSON list of queues that a worker's row has."""
    return frozenset(parse_json(text, []))
