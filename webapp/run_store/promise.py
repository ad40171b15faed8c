"""What can be promised of a run: the one rule of what may be sent a second time.

A run is guarded where every worker that may take its message claims it first; then a message that was delivered or sent
twice is executed once. A worker that is not ours claims nothing, so a run that it may have taken is only observed: sent
once, never again automatically, and its end is known from the result backend or not at all.

1. The promise belongs to the queue. A queue that is not known, as with an exchange of a run's own, is observed.
2. It is observed while a consumer is known that does not claim. One that stops answering stays known for a day: a busy
   worker answers nothing, so silence is no proof that it has gone.
3. Our own queue is guarded otherwise. Another queue is guarded only where a consumer that claims was seen since the
   run was sent. So at the moment of sending it is observed.
4. A run that another program sent is observed until a worker of ours has claimed it: sending it is not up to us.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import Enum
from typing import NamedTuple

import sqlalchemy as sa

from webapp.messaging.celery_config import DEFAULT_QUEUE
from webapp.run_store.models import Run
from webapp.run_store.states import Origin
from webapp.run_store.worker_models import QueueConsumer

# More rows than any installation has.
MAX_CONSUMERS = 10_000


class Promise(Enum):
    """GUARDED: executed once, even if delivered twice. OBSERVED: sent once, and never again automatically."""

    GUARDED = "guarded"
    OBSERVED = "observed"


class Consumer(NamedTuple):
    """A worker that consumes a queue; `claims` says whether it is ours, `seen_at` when it said so last (UTC)."""

    queue: str
    node: str
    claims: bool
    seen_at: datetime


Consumers = Sequence[Consumer]


def promise(queue: str | None, sent_at: datetime | None, consumers: Iterable[Consumer]) -> Promise:
    """What can be promised of a run that was sent to a queue (None: not known which) at a moment (None: not yet)."""
    here = [consumer for consumer in consumers if consumer.queue == queue]
    if queue is None or not all(consumer.claims for consumer in here):
        return Promise.OBSERVED
    seen = sent_at is not None and any(consumer.seen_at >= sent_at for consumer in here)
    return Promise.GUARDED if queue == DEFAULT_QUEUE or seen else Promise.OBSERVED


def guarded(consumers: Iterable[Consumer]) -> sa.ColumnElement[bool]:
    """The same as a condition on rows of `runs`, for statements over many of them."""
    known = list(consumers)
    foreign = {consumer.queue for consumer in known if not consumer.claims}
    seen: dict[str, datetime] = {}
    for consumer in known:
        if consumer.queue not in foreign and consumer.queue != DEFAULT_QUEUE:
            seen[consumer.queue] = max(consumer.seen_at, seen.get(consumer.queue, consumer.seen_at))
    others = [sa.and_(Run.queue == queue, Run.sent_at <= at) for queue, at in seen.items()]
    # A run that went to a queue by its task's own options, or by a route, has that queue in its row.
    own = [] if DEFAULT_QUEUE in foreign else [sa.func.coalesce(Run.queue, DEFAULT_QUEUE) == DEFAULT_QUEUE]
    # Options that name an exchange and a routing key; a text within another option may look like that too.
    options = sa.func.coalesce(Run.options, "")
    addressed = sa.and_(*(options.contains(f'"{name}"', autoescape=True) for name in ("exchange", "routing_key")))
    return sa.and_(Run.origin != Origin.PROGRAM, ~addressed, sa.or_(sa.false(), *own, *others))


def load(connection: sa.Connection) -> Consumers:
    """All consumers that are known."""
    columns = (getattr(QueueConsumer, name) for name in Consumer._fields)
    return [Consumer._make(row) for row in connection.execute(sa.select(*columns).limit(MAX_CONSUMERS))]
