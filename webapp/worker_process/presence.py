"""Each worker's heartbeat: renews its row in `workers`, and the claims of the runs that it executes."""

from __future__ import annotations

import json
import logging
import os
import platform
import socket
import threading
import uuid
from typing import Any

import celery as celery_package
import kombu
import redis
import sqlalchemy as sa
from celery import signals
from celery.platforms import EX_FAILURE
from celery.worker import state as worker_state

from beatdesk.encoding import NAME_LENGTH, encodable, shortened
from webapp.database.engine import database_now, now
from webapp.extensions import celery, db
from webapp.liveness import WORKER_HEARTBEAT
from webapp.messaging import broker, installation
from webapp.run_store import claims
from webapp.run_store.worker_models import Worker
from webapp.task_catalogue.task_names import is_internal

logger = logging.getLogger(__name__)

_worker_id = uuid.uuid4().hex
_stopping = threading.Event()
_beating: threading.Thread | None = None
_consumer: Any = None


def worker_id() -> str:
    """This worker's identity, new at each start and inherited by the processes of its pool."""
    return _worker_id


@signals.celeryd_init.connect
def _new_identity(instance: Any = None, **_: Any) -> None:
    if instance is not None:
        # Before the name is used: neither Redis nor a column takes every text.
        instance.hostname = shortened(instance.hostname, NAME_LENGTH)
    global _worker_id  # noqa: PLW0603  # one process is one worker; its children must inherit the value
    _worker_id = uuid.uuid4().hex


@signals.worker_ready.connect
def _ready(sender: Any, **_: Any) -> None:
    global _beating, _consumer  # noqa: PLW0603  # there is one of each in a worker
    _consumer = sender
    row = _describe(sender.controller)
    _stopping.clear()
    _write(lambda connection: connection.execute(sa.insert(Worker).values(**row, seen_at=database_now(connection))))
    _beating = threading.Thread(target=_beat, args=(row,), name="presence", daemon=True)
    _beating.start()


@signals.worker_shutdown.connect
def _gone(**_: Any) -> None:
    if _beating is None:
        return
    _stopping.set()
    _beating.join(timeout=2)
    at = now()
    _write(
        lambda connection: connection.execute(sa.update(Worker).where(Worker.id == _worker_id).values(stopped_at=at))
    )


def _beat(row: dict[str, Any]) -> None:
    while not _stopping.wait(WORKER_HEARTBEAT):
        _write(lambda connection: _heartbeat(connection, row))
        _check_installation()


def _check_installation() -> None:
    """End the worker where Redis turns out to be another installation's."""
    app = celery.flask_app
    try:
        with app.app_context():
            installation.mark(broker.client(), app.extensions["settings"].redis_url)
    except installation.OtherInstallation as error:
        logger.critical(error)
        worker_state.should_stop = EX_FAILURE
    except (redis.RedisError, OSError) as error:
        logger.info("the owner of Redis is checked later: %s", error)


def _heartbeat(connection: sa.Connection, row: dict[str, Any]) -> None:
    """Renew the row, or insert it again if it was deleted, and renew the claims."""
    # By the database's clock, by which other processes decide whether this worker is alive.
    at = database_now(connection)
    changing = {"queues": json.dumps(_queues()), **_slots(_consumer.controller)}
    seen = connection.execute(
        sa.update(Worker).where(Worker.id == row["id"]).values(seen_at=at, stopped_at=None, **changing)
    )
    if not seen.rowcount:
        connection.execute(sa.insert(Worker).values(**row | changing, seen_at=at))
    claims.renew(connection, [request.id for request in tuple(worker_state.active_requests)], row["id"])
    claims.renew_waiting(connection, _consumer.waiting)


def _write(action: Any) -> None:
    """Run an action in one short transaction; a failure is logged and nothing else."""
    app = celery.flask_app
    try:
        with app.app_context(), db.engine.begin() as connection:
            action(connection)
    except Exception as error:  # noqa: BLE001  # whatever it is, the next heartbeat tries again; without any this worker is dead
        logger.warning("the heartbeat could not be written: %r", error)


def _describe(controller: Any) -> dict[str, Any]:
    pool = type(controller.pool).__module__.rsplit(".", 1)[-1]
    return {
        "id": _worker_id,
        "name": controller.hostname,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        # By the names that the option --pool takes.
        "pool": {"thread": "threads"}.get(pool, pool)[:20],
        **_slots(controller),
        "queues": json.dumps(_queues()),
        "tasks": json.dumps(sorted(encodable(name) for name in celery.tasks if not is_internal(name))),
        "versions": json.dumps(
            {
                "python": platform.python_version(),
                "celery": celery_package.__version__,
                "kombu": kombu.__version__,
            }
        ),
        "started_at": now(),
    }


def _slots(controller: Any) -> dict[str, int | None]:
    """How many runs it can execute at once: solo has one slot whatever its option says, and remote control resizes."""
    current = max(1, controller.pool.num_processes)
    scaler = getattr(controller, "autoscaler", None)
    if scaler is None or not hasattr(controller.pool, "grow"):
        return {"concurrency": current, "autoscale_min": None, "autoscale_now": None}
    return {
        "concurrency": max(scaler.max_concurrency, current),
        "autoscale_min": scaler.min_concurrency,
        "autoscale_now": current,
    }


def _queues() -> list[str]:
    """The queues that this worker consumes at the moment."""
    return sorted(map(encodable, celery.amqp.queues.consume_from))
