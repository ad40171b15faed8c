"""How many runs can be executed at once: the slots of the workers that take from given queues."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import sqlalchemy as sa

from webapp.extensions import db
from webapp.run_store.worker_models import Worker

# How many of the workers that were seen last are looked at, for a queue that nobody takes from now.
MAX_WORKERS = 200
# Workers that were seen last within this time of each other were there together.
SEEN_TOGETHER = timedelta(minutes=1)


class Standing(StrEnum):
    """How it is known how many slots there are."""

    ONLINE = "online"
    LAST_KNOWN = "last known"
    ASSUMED = "assumed"


@dataclass(frozen=True, slots=True)
class Pool:
    """Queues that the same workers take from, and the slots of those together; at least one.

    `seen_at` is when the last of them was seen, where none is online; None where no worker of them was ever seen.
    """

    queues: tuple[str, ...]
    slots: int
    workers: tuple[str, ...] = ()
    standing: Standing = Standing.ASSUMED
    seen_at: datetime | None = None


def pools(queues: Iterable[str], now: datetime) -> list[Pool]:
    """The pools that serve these queues, by name of queue.

    1. Queues that one living worker takes from share its slots: they are one pool.
    2. A queue without a living worker has the slots that it had when one was last seen,
    3. or one, when nobody ever took from it.
    """
    wanted = sorted(set(queues))
    rows = db.session.scalars(sa.select(Worker).order_by(Worker.seen_at.desc()).limit(MAX_WORKERS)).all()
    taken = {row.id: _queues(row) for row in rows}
    alive = [row for row in rows if row.alive(now)]
    found = [_pool(part, [row for row in alive if taken[row.id] & part]) for part in _parts(wanted, alive, taken)]
    return sorted((pool or _remembered(part, rows, taken) for part, pool in found), key=lambda pool: pool.queues)


def _pool(part: set[str], workers: Sequence[Worker]) -> tuple[set[str], Pool | None]:
    if not workers:
        return part, None
    names = tuple(sorted(worker.name for worker in workers))
    return part, Pool(tuple(sorted(part)), max(1, _slots(workers)), names, Standing.ONLINE)


def _parts(queues: Sequence[str], alive: Sequence[Worker], taken: dict[str, set[str]]) -> list[set[str]]:
    """The queues, those together that some worker takes from both of."""
    parts = [{queue} for queue in queues]
    for worker in alive:
        joined = [part for part in parts if part & taken[worker.id]]
        if len(joined) > 1:
            parts = [part for part in parts if part not in joined] + [set().union(*joined)]
    return parts


def _remembered(part: set[str], rows: Sequence[Worker], taken: dict[str, set[str]]) -> Pool:
    queues = tuple(sorted(part))
    gone = [row for row in rows if taken[row.id] & part]
    if not gone:
        return Pool(queues, 1)
    last = gone[0].seen_at
    together = [row for row in gone if last - row.seen_at <= SEEN_TOGETHER]
    return Pool(queues, max(1, _slots(together)), tuple(row.name for row in together), Standing.LAST_KNOWN, last)


def _slots(workers: Iterable[Worker]) -> int:
    return sum(worker.concurrency for worker in workers)


def _queues(worker: Worker) -> set[str]:
    try:
        return {str(name) for name in json.loads(worker.queues)}
    except (ValueError, TypeError):
        return set()
