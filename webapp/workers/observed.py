"""Workers of other projects for pages: as their task events show them, and the times of which events are missing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from webapp.extensions import db
from webapp.liveness import FOREIGN_WORKER_GONE_AFTER, FORGOTTEN_AFTER
from webapp.run_store.observed_workers import EventGap, ObservedWorker, gaps
from webapp.run_store.worker_models import QueueConsumer

MAX_SHOWN, MAX_GAPS = 200, 3


@dataclass(frozen=True, slots=True)
class ObservedLine:
    """A worker as the page shows it. `queues` are those that it named when it was asked last."""

    row: ObservedWorker
    alive: bool
    queues: list[str]


@dataclass(frozen=True, slots=True)
class ObservedWorkers:
    """The living ones first, each by name, and the latest gaps of the last day."""

    lines: list[ObservedLine]
    gaps: list[EventGap]


def observed_workers(now: datetime) -> ObservedWorkers:
    """Those of the last day."""
    lately = sa.select(ObservedWorker).where(ObservedWorker.seen_at > now - FORGOTTEN_AFTER)
    rows = db.session.scalars(lately.order_by(ObservedWorker.node, ObservedWorker.pid).limit(MAX_SHOWN))
    consumed: dict[str, list[str]] = {}
    query = sa.select(QueueConsumer.node, QueueConsumer.queue).where(QueueConsumer.seen_at > now - FORGOTTEN_AFTER)
    for node, queue in db.session.execute(query.order_by(QueueConsumer.queue)):
        consumed.setdefault(node, []).append(queue)
    lines = [ObservedLine(row, _is_alive(row, now), list(dict.fromkeys(consumed.get(row.node, [])))) for row in rows]
    recent = [gap for gap in gaps(db.session.connection(), MAX_GAPS) if gap.ended_at > now - FORGOTTEN_AFTER]
    return ObservedWorkers(sorted(lines, key=lambda line: not line.alive), recent)


def _is_alive(row: ObservedWorker, now: datetime) -> bool:
    return row.stopped_at is None and row.seen_at > now - FOREIGN_WORKER_GONE_AFTER
