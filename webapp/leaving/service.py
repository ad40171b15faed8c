"""Leaving: what Beatdesk added to its database, Redis and broker, and its removal.

1. Nothing is removed while a process of the installation is alive, as far as that can be seen.
2. Queues go first, then keys, then tables: what a later step needs to be repeated is removed last. Each step can be
   repeated after an interruption; the tables go in one transaction.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import redis
import sqlalchemy as sa
from celery import Celery
from sqlalchemy.orm import Session

from webapp.config import Settings
from webapp.database.engine import database_now
from webapp.database.reads import reading
from webapp.leaving import broker_objects, redis_keys, tables
from webapp.messaging.installation import Installation, without_password
from webapp.recorder import adopted_workers, recorder
from webapp.recorder.event_reader import LEASE as OBSERVER_LEASE
from webapp.run_store.worker_models import Worker
from webapp.schedule_store.beat_models import alive_beats


@dataclass(frozen=True)
class Found:
    """What Beatdesk added: tables, keys by Redis database, messages by queue; and processes that are alive."""

    tables: tables.Tables | None
    keys: dict[str, dict[str, int]]
    queues: dict[str, int]
    alive: list[str]

    @property
    def nothing(self) -> bool:
        """Whether there is nothing to remove."""
        return self.tables is None and not self.queues and not any(self.keys.values())

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        database = None if self.tables is None else asdict(self.tables)
        return {"database": database, "redis": self.keys, "broker": self.queues, "alive": self.alive}


def find(engine: sa.Engine, app: Celery, settings: Settings) -> Found:
    """Look at the database, Redis and the broker. Raises NotOurs, and the errors of a server that is away."""
    with reading(engine, streaming=True) as connection, Session(connection) as session:
        own, nodes, alive = _processes(session)
        now = _now(session)
        in_database = tables.added(session, now)
    keys, before = {}, redis_keys.prefixes(settings)
    for url in redis_keys.urls(settings):
        with redis_keys.connect(url) as client:
            redis_keys.require_ours(client, url, own, before)
            if url == settings.redis_url:
                alive += _seen_in_redis(client)
            keys[without_password(url)] = redis_keys.counted(client, before)
    with app.connection_for_write() as connection:
        queues = broker_objects.counted(connection, nodes)
    return Found(in_database, keys, queues, alive)


def remove(engine: sa.Engine, app: Celery, settings: Settings) -> None:
    """Remove all of it. Raises the errors of a server that is away; then it can be repeated."""
    with reading(engine) as connection, Session(connection) as session:
        _own, nodes, _alive = _processes(session)
    with app.connection_for_write() as connection:
        broker_objects.remove(connection, nodes)
    for url in redis_keys.urls(settings):
        with redis_keys.connect(url) as client:
            redis_keys.remove(client, redis_keys.prefixes(settings))
    with Session(engine) as session:
        tables.remove(session, _now(session))


def _now(session: Session) -> datetime:
    return session.execute(sa.select(database_now(session.connection()))).scalar_one()


def _processes(session: Session) -> tuple[str | None, list[str], list[str]]:
    """The installation's ID, the names of its own workers, and which of its processes are alive."""
    if not sa.inspect(session.connection()).has_table(Installation.__tablename__):
        return None, [], []
    now = _now(session)
    workers = session.scalars(sa.select(Worker)).all()
    alive = [f"worker {each.name}" for each in workers if each.kind == Worker.OURS and each.alive(now)]
    alive += [f"beat on {each.host}, process {each.pid}" for each in alive_beats(session, now)]
    # Bindings of adopted workers are theirs: such a worker binds the same name again when it is no longer adopted.
    ours = {each.name for each in workers if each.kind == Worker.OURS}
    return session.scalar(sa.select(Installation.id)), sorted(ours), alive


def _seen_in_redis(client: redis.Redis) -> list[str]:
    found = [f"recorder {name}" for name in recorder.present(client)]
    # Their rows say nothing of them once the recorder has stopped.
    adopted = adopted_workers.present(client).values()
    found += [f"adopted worker {each['name']}" for each in adopted if not each.get("stopped")]
    return found + (["observer"] if client.exists(OBSERVER_LEASE) else [])
