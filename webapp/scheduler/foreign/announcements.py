"""Moves what apps announce of their tasks from Redis into the database, and has beat load the schedules of these tasks.

An announcement is removed from Redis once it is committed; what is read twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime

import redis
import sqlalchemy as sa
from celery.utils.log import get_logger

from webapp.database.engine import database_now
from webapp.liveness import WORKER_LOST_AFTER
from webapp.messaging.broker import connect
from webapp.run_store.worker_models import Worker
from webapp.schedule_store.rows import TASKS
from webapp.scheduler.leader import Lease
from webapp.task_catalogue import announced, mailbox
from webapp.task_catalogue.registry import forget_announced

logger = get_logger(__name__)


class Announcements:
    """Belongs to one thread of the leading beat."""

    def __init__(self, engine: sa.Engine, lease: Lease, redis_url: str | None) -> None:
        self._engine, self._lease = engine, lease
        self._client = connect(redis_url) if redis_url else None
        self._renew_at = datetime.min.replace(tzinfo=UTC)

    def take(self, now: datetime) -> None:
        """Take all that wait. With Redis away they are taken later. Raises what the database raises."""
        if now >= self._renew_at:
            self._renew(now)
            self._renew_at = now + announced.RENEWED_AFTER
        try:
            while self._client is not None and self._take(self._client, now):
                pass
        except (redis.RedisError, OSError) as error:
            logger.info("announced tasks are read later, Redis does not answer: %s", error)

    def _take(self, client: redis.Redis, now: datetime) -> bool:
        """Take some; whether there may be more."""
        waiting = mailbox.read(client)
        changed: set[str] = set()
        if waiting.announcements:
            with self._engine.begin() as connection:
                self._lease.prove(connection)
                for one in waiting.announcements:
                    changed |= announced.keep_announcement(connection, one, now)
                    logger.info("%s announced %d tasks", one.source, len(one.tasks))
        reload_schedules(self._engine, self._lease, changed)
        mailbox.remove(client, waiting.ids)
        return len(waiting.ids) == mailbox.BATCH

    def _renew(self, now: datetime) -> None:
        with self._engine.begin() as connection:
            self._lease.prove(connection)
            at = connection.execute(sa.select(database_now(connection))).scalar_one()
            living = sa.select(Worker.name).where(Worker.alive(at, WORKER_LOST_AFTER))
            announced.renew(connection, set(connection.execute(living).scalars()), now)


def reload_schedules(engine: sa.Engine, lease: Lease, tasks: Collection[str]) -> None:
    """Have beat load the schedules of these tasks again, once what is known of the tasks is committed."""
    if not tasks:
        return
    forget_announced()
    with engine.begin() as connection:
        lease.prove(connection)
        # For the triggers of revision, which any update fires.
        again = sa.update(TASKS).where(TASKS.c.task.in_(sorted(tasks)))
        connection.execute(again.values(task=TASKS.c.task))
