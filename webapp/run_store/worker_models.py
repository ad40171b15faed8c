"""Who is alive: one row for each running worker, and one for each consumer of a queue, ours or not."""

from __future__ import annotations

from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.ext.hybrid import hybrid_method
from sqlalchemy.orm import Mapped, mapped_column

from webapp.database.engine import Base, Name, UtcDateTime, now
from webapp.liveness import WORKER_GONE_AFTER


class Worker(Base):
    """A worker's main process. It renews `seen_at` every few seconds; one that does not is taken for dead.

    `concurrency` is how many runs it can execute at once; the maximum, where it scales by itself.
    """

    __tablename__ = "workers"

    OURS, ADOPTED = "ours", "adopted"

    id: Mapped[str] = mapped_column(sa.String(64), primary_key=True, comment="Random, new at each start")
    name: Mapped[str] = mapped_column(Name, comment="Celery's node name")
    host: Mapped[str] = mapped_column(Name)
    pid: Mapped[int]
    pool: Mapped[str] = mapped_column(sa.String(20))
    concurrency: Mapped[int]
    autoscale_min: Mapped[int | None] = mapped_column(comment="None: it does not scale by itself")
    autoscale_now: Mapped[int | None] = mapped_column(
        comment="How many runs it can execute now, where it scales by itself"
    )
    queues: Mapped[str] = mapped_column(sa.Text, default="[]", comment="JSON list of names")
    tasks: Mapped[str] = mapped_column(sa.Text, default="[]", comment="JSON list of the registered tasks")
    kind: Mapped[str] = mapped_column(sa.String(10), default=OURS, server_default=OURS, comment="ours, or adopted")
    late_tasks: Mapped[str | None] = mapped_column(
        sa.Text, comment="JSON list of the tasks acknowledged late; NULL: all"
    )
    versions: Mapped[str] = mapped_column(sa.Text, default="{}", comment="JSON: python, celery, kombu")
    started_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    seen_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now, index=True)
    stopped_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    @hybrid_method
    def alive(self, now: datetime, limit: timedelta = WORKER_GONE_AFTER) -> bool:
        """Whether it has not stopped and gave a heartbeat within the limit. `now` is the database's clock."""
        # One expression for a row in Python and for the table in SQL.
        return (self.stopped_at == None) & (self.seen_at > now - limit)  # noqa: E711


class QueueConsumer(Base):
    """A worker that said that it consumes a queue. The leading beat asks all workers; rows go after a day of silence.

    `claims` is part of the key: a node that was seen both ways, because two workers share a name or one replaced the
    other, has two rows.
    """

    __tablename__ = "queue_consumers"

    queue: Mapped[str] = mapped_column(sa.String(255), primary_key=True)
    node: Mapped[str] = mapped_column(sa.String(255), primary_key=True, comment="Celery's node name")
    claims: Mapped[bool] = mapped_column(primary_key=True, comment="Whether it is a worker of ours")
    first_seen_at: Mapped[datetime] = mapped_column(UtcDateTime)
    seen_at: Mapped[datetime] = mapped_column(UtcDateTime, comment="When it answered last")
