"""Our own worker as the host of its runs: claims in the database, and an application context around each run."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import redis
import sqlalchemy as sa
from celery import signals
from celery.exceptions import Ignore, Reject
from flask import Flask

from beatdesk.execution import pending_entries, publishing, run_task
from beatdesk.execution.canvas import replacement_by
from beatdesk.execution.current import Execution
from beatdesk.execution.events import Entry
from beatdesk.execution.host import Claimed, Delivery, Host
from webapp.database.engine import now
from webapp.extensions import celery, db
from webapp.messaging import broker
from webapp.recorder import recording
from webapp.run_store import claims, sending
from webapp.run_store.claims import Verdict
from webapp.worker_process import presence

logger = logging.getLogger(__name__)

# Of these the claim itself wrote the end.
_ENDED_BY_CLAIM = (Verdict.EXPIRED, Verdict.LOST_TOO_OFTEN)
# Seconds that a worker waits for a database that is away before it gives the message back.
DATABASE_TIMEOUT = 20.0


class DatabaseHost(Host):
    """The host of our own workers."""

    app = celery

    @property
    def worker_id(self) -> str:
        """That of the row in `workers`."""
        return presence.worker_id()

    def redis(self) -> redis.Redis:
        """The Redis of `REDIS_URL`."""
        app: Flask = celery.flask_app
        # Asked for each entry: to enter a context would cost as much as the entry.
        made: redis.Redis | None = app.extensions.get("redis")
        if made is None:
            with app.app_context():
                made = broker.client()
        return made

    def context(self) -> AbstractContextManager[Any]:
        """A new application context, with a database session of its own."""
        app: Flask = celery.flask_app
        return app.app_context()

    def claim(self, delivery: Delivery, task: Any, request: Mapping[str, Any]) -> Claimed:
        """Claim in the database; waits for one that is away, then gives the message back."""
        verdict, run_id = _claim(delivery)
        if verdict is Verdict.CLAIMED_AGAIN and not self._ended_unrecorded(run_id, delivery.attempt):
            verdict = Verdict.CLAIMED
        if verdict is not Verdict.CLAIMED:
            logger.info("run %s not started here: %s", run_id, verdict.value)
            if verdict in _ENDED_BY_CLAIM:
                sending.tell_pages([run_id])
            raise Ignore(verdict.value)
        return Claimed(run_id)

    def give_back(self, execution: Execution, reason: str) -> None:
        """Queue the run again."""
        with db.engine.begin() as connection:
            claims.give_back(connection, execution.id, self.worker_id, reason)
        sending.tell_pages([execution.id])

    def hand_over(self, execution: Execution, reason: str, replaced: int, signature: Any) -> None:
        """Queue the run again as what it is replaced by."""
        replacement = replacement_by(signature)
        with db.engine.begin() as connection:
            claims.hand_over(connection, execution.id, self.worker_id, reason, replaced, replacement, now())
        sending.tell_pages([execution.id])

    def started_here(self, task_id: str, message: Mapping[str, Any]) -> tuple[str, int] | None:
        """By the row that has this worker's claim."""
        try:
            with self.context(), db.engine.connect() as connection:
                return claims.executed_here(connection, task_id, self.worker_id)
        except sa.exc.SQLAlchemyError as error:
            logger.warning("the record of task id %s may belong to an earlier run of it: %s", task_id, error)
            return None

    def record(self, entry: Entry) -> None:
        """Write it to the database, as the recorder does."""
        try:
            with self.context():
                rejected = recording.record(db.engine, [entry]).rejected
        except sa.exc.SQLAlchemyError:
            logger.exception("run %s: %s could not be recorded", entry.run_id, entry.event.value)
            return
        for _, reason in rejected:
            logger.error("run %s: %s cannot be recorded: %s", entry.run_id, entry.event.value, reason)

    def _ended_unrecorded(self, run_id: str, attempt: int) -> bool:
        """Whether the run ended before its worker went, which only the stream has so far; then it is recorded now."""
        try:
            entry = pending_entries.end_of(self.redis(), run_id, attempt)
        except (redis.RedisError, OSError) as error:
            logger.warning("run %s is started again, Redis cannot be asked whether it ended: %s", run_id, error)
            return False
        if entry is None:
            return False
        with db.engine.begin() as connection:
            recording.apply(connection, [entry])
        return True


def _claim(delivery: Delivery) -> tuple[Verdict, str]:
    give_up = time.monotonic() + DATABASE_TIMEOUT
    while True:
        try:
            if delivery.ours:
                return claims.claim_by_itself(db.engine, delivery, now()), delivery.run_id
            return claims.claim_external(db.engine, delivery, now())
        except (sa.exc.OperationalError, sa.exc.TimeoutError) as error:
            if time.monotonic() > give_up:
                logger.exception("run %s requeued, the database does not answer", delivery.run_id)
                raise Reject(reason="the database does not answer", requeue=True) from error
            time.sleep(0.5)


@signals.celeryd_init.connect
def _keep_undelivered(**_: Any) -> None:
    celery.amqp.keep_undelivered = publishing.keep_undelivered


@signals.worker_process_init.connect
def _after_fork(**_: Any) -> None:
    """Connections cannot be shared with the process that we were copied from."""
    app = celery.flask_app
    with app.app_context():
        db.engine.dispose(close=False)
    for name in ("redis", "producers"):
        app.extensions.pop(name, None)


run_task.install(DatabaseHost())
