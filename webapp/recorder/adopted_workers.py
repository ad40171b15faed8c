"""Adopted workers: their presence in Redis becomes rows of `workers`, by which all else treats them as it does ours."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import redis
import sqlalchemy as sa

from beatdesk.adopted.claims import WORKER_KEY, WORKERS_KEY
from beatdesk.encoding import NAME_LENGTH, encodable, shortened
from beatdesk.execution.events import MAX_INTEGER
from webapp.database.dialects import insert
from webapp.database.engine import database_now
from webapp.run_store import claims
from webapp.run_store.worker_models import Worker

logger = logging.getLogger(__name__)

MAX_WORKERS = 1_000


def present(client: redis.Redis) -> dict[str, dict[str, Any]]:
    """What each adopted worker with a key tells, by id; others are forgotten. Raises redis.RedisError."""
    known: Any = client.smembers(WORKERS_KEY)
    ids = sorted(known)[:MAX_WORKERS]
    texts: Any = client.mget([WORKER_KEY.format(worker_id=each) for each in ids]) if ids else []
    told = {worker_id: _told(text) for worker_id, text in zip(ids, texts, strict=True)}
    if gone := [worker_id for worker_id, each in told.items() if each is None]:
        client.srem(WORKERS_KEY, *gone)
    return {worker_id: each for worker_id, each in told.items() if each is not None}


def _told(text: str | None) -> dict[str, Any] | None:
    try:
        found = json.loads(text) if text else None
        return found if isinstance(found, dict) and found["pid"] >= 0 and isinstance(found["name"], str) else None
    except (ValueError, TypeError, LookupError):
        return None


class AdoptedWorkers:
    """Keeps the rows of adopted workers, with what a worker told when its key was read last."""

    def __init__(self) -> None:
        self._told_at: dict[str, Any] = {}

    def keep(self, engine: sa.Engine, client: redis.Redis) -> None:
        """Write what those tell that told anything since the last call. Raises redis.RedisError."""
        told = present(client)
        fresh = {each: said for each, said in told.items() if self._told_at.get(each) != said.get("at")}
        for worker_id, said in fresh.items():
            try:
                with engine.begin() as connection:
                    _keep(connection, worker_id, said)
            except (ValueError, TypeError, LookupError, AttributeError, OverflowError, sa.exc.DataError) as error:
                logger.warning("worker %s tells what cannot be kept: %s", shortened(worker_id, 40), error)
        self._told_at = {worker_id: said.get("at") for worker_id, said in told.items()}


def _keep(connection: sa.Connection, worker_id: str, said: Mapping[str, Any]) -> None:
    at = database_now(connection)
    row = {
        "id": worker_id,
        "kind": Worker.ADOPTED,
        "name": shortened(said["name"], NAME_LENGTH),
        "host": shortened(str(said["host"]), NAME_LENGTH),
        "pid": _count(said["pid"]),
        "pool": str(said["pool"])[:20],
        "concurrency": _count(said["concurrency"]),
        "autoscale_min": _count(said.get("autoscale_min")),
        "autoscale_now": _count(said.get("autoscale_now")),
        "queues": _names(said["queues"]),
        "tasks": _names(said["tasks"]),
        "late_tasks": _names(said["acks_late"]),
        "versions": json.dumps({name: str(said["versions"].get(name)) for name in ("python", "celery", "kombu")}),
        "started_at": datetime.fromtimestamp(float(said["started"]), UTC),
    }
    # By the database's clock, as for our own workers.
    seen = {"seen_at": at, "stopped_at": at if said.get("stopped") else None}
    statement = insert(connection, Worker).values(**row, **seen)
    connection.execute(statement.on_conflict_do_update(index_elements=("id",), set_={**row, **seen}))
    claims.renew(connection, [encodable(str(each)) for each in said["running"]], worker_id)


def _count(value: Any) -> int | None:
    return None if value is None else min(max(int(value), 0), MAX_INTEGER)


def _names(values: Any) -> str:
    return json.dumps([shortened(str(value), NAME_LENGTH) for value in values])
