"""Each worker's sign of life: its row in `workers`, and the claims of what it executes."""

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
import sqlalchemy as sa
from celery import signals
from celery.worker import state as worker_state

from webapp.database import NAME_LENGTH, database_now, now
from webapp.encoding import encodable, shortened
from webapp.extensions import celery, db
from webapp.runs import claims
from webapp.workers.models import Worker

logger = logging.getLogger(__name__)

# Seconds between signs of life, and after how many without one a worker counts as gone.
INTERVAL = 5.0
GONE_AFTER = 20.0

_worker_id = uuid.uuid4().hex
_stopping = threading.Event()
_beating: threading.Thread | None = None


def worker_id() -> str:
    """This worker's identity, new at each start; its pool processes inherit it."""
    return _worker_id


@signals.celeryd_init.connect
def _new_identity(instance: Any = None, **_: Any) -> None:
    if instance is not None:
        # Before it is sent anywhere: neither Redis nor a column takes an odd name.
        instance.hostname = shortened(instance.hostname, NAME_LENGTH)
    global _worker_id  # noqa: PLW0603  # one process is one worker; its children must inherit the value
    _worker_id = uuid.uuid4().hex


@signals.worker_ready.connect
def _ready(sender: Any, **_: Any) -> None:
    global _beating  # noqa: PLW0603  # there is one such thread in a worker
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
    while not _stopping.wait(INTERVAL):
        _write(lambda connection: _sign(connection, row))


def _sign(connection: sa.Connection, row: dict[str, Any]) -> None:
    """Renew the row, or write it again when somebody removed it, and renew the claims."""
    # By the database's clock, as everybody who asks whether this worker is alive.
    at = database_now(connection)
    queues = json.dumps(_queues())
    seen = connection.execute(
        sa.update(Worker).where(Worker.id == row["id"]).values(seen_at=at, queues=queues, stopped_at=None)
    )
    if not seen.rowcount:
        connection.execute(sa.insert(Worker).values(**row, seen_at=at))
    claims.renew(connection, [request.id for request in tuple(worker_state.active_requests)], row["id"])


def _write(action: Any) -> None:
    """One short transaction; a database that is away costs a line in the log and nothing else."""
    app = celery.flask_app
    try:
        with app.app_context(), db.engine.begin() as connection:
            action(connection)
    except sa.exc.SQLAlchemyError as error:
        logger.warning("no sign of life could be written: %s", error)


def _describe(controller: Any) -> dict[str, Any]:
    pool = type(controller.pool).__module__.rsplit(".", 1)[-1]
    return {
        "id": _worker_id,
        "name": controller.hostname,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "pool": {"concurrency": "prefork"}.get(pool, pool)[:20],
        "concurrency": controller.concurrency or 1,
        "queues": json.dumps(_queues()),
        "tasks": json.dumps(sorted(encodable(name) for name in celery.tasks if not name.startswith("celery."))),
        "versions": json.dumps(
            {
                "python": platform.python_version(),
                "celery": celery_package.__version__,
                "kombu": kombu.__version__,
            }
        ),
        "started_at": now(),
    }


def _queues() -> list[str]:
    """The queues that this worker consumes at the moment."""
    return sorted(map(encodable, celery.amqp.queues.consume_from))
