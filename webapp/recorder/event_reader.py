"""The observer: reads Celery's task events of other projects' workers and appends them to the stream of runs.

1. One reader works at a time, under a lease in Redis; the others wait for it.
2. Events are read from the broker: on Redis from its publications, which only listeners get; on RabbitMQ from a durable
   queue of our own with a maximum length, which keeps them while no observer runs.
3. A batch of events, of at most `BATCH_SECONDS`, becomes entries of the stream. Only then is it acknowledged: what was
   read by a reader that died is read again, and applied once.
4. Workers send task events only once they are asked to. Each worker that is not ours is asked every second at first,
   and every `ASK_SECONDS` later, because a restart forgets it. No worker is ever told to stop: others read them too.
5. A worker's heartbeat says how many runs it has begun. Where fewer beginnings were read there is a gap, as there is
   after a time without a reader (not on RabbitMQ, where the queue keeps the events).

Events of our own workers are skipped: those report themselves.
"""

from __future__ import annotations

import logging
import signal
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import kombu
import redis
import sqlalchemy as sa
from celery import Celery
from celery.events.event import get_exchange
from redis.exceptions import LockError
from redis.lock import Lock

from beatdesk.execution.events import STREAM, STREAM_LENGTH
from beatdesk.execution.ids import external_id, id_of_task
from webapp.config import Settings
from webapp.database.engine import now
from webapp.database.reads import reading
from webapp.liveness import FOREIGN_WORKER_GONE_AFTER, WORKER_LOST_AFTER
from webapp.messaging import broker, installation
from webapp.messaging.producers import BROKER_ERRORS, connect, drop
from webapp.recorder import adopted_workers
from webapp.recorder.observed_nodes import Node, ObservedNodes
from webapp.recorder.task_events import KnownRun, TaskEvent, Translator
from webapp.run_store import observed_workers
from webapp.run_store.models import Run
from webapp.run_store.worker_models import QueueConsumer, Worker

logger = logging.getLogger(__name__)

LEASE = "beatdesk:observer"
LEASE_SECONDS = 10.0
# When a reader last read, in epoch seconds: a worker may have been silent for longer.
LAST_READ = "beatdesk:observer:read"
RENEWED_EVERY = 3.0
# On RabbitMQ. At 5,000 events a second, of half a kilobyte each, a minute without a reader.
QUEUE = "beatdesk.events"
QUEUE_LENGTH = 300_000
BATCH = 500
BATCH_SECONDS = 0.15
IDLE_SECONDS = 0.5
ASK_SECONDS = 30.0
# A worker that starts sends events before it can be asked.
ASK_NEW_SECONDS, NEW_FOR = 1.0, timedelta(seconds=30)
# Seconds between two looks at the tables.
LOOKED_EVERY = 5.0
# Seconds before the next try when the broker, Redis or the database is away.
PAUSE = 1.0
# After so long without a reader, what was published meanwhile is unknown.
GAP_AFTER = timedelta(seconds=30)


class EventReader:
    """`run` until `stop`. Needs the broker, Redis and the database, and waits for each that is away."""

    def __init__(self, app: Celery, engine: sa.Engine, redis_url: str, *, with_arguments: bool = True) -> None:
        self.stopping = threading.Event()
        # Set while events are read here.
        self.reading = threading.Event()
        self._app = app
        self._engine = engine
        self._url = redis_url
        self._redis = broker.connect(redis_url, timeout=5.0)
        self._translator = Translator(self._look_up, with_arguments=with_arguments)
        self._events: deque[tuple[TaskEvent, Any]] = deque()
        self._nodes = ObservedNodes(self._own_nodes)
        # The queue of each worker that consumes only one.
        self._queue_of: dict[str, str] = {}
        self._next = dict.fromkeys(("batch", "lease", "new", "ask", "look"), 0.0)
        self._away: str | None = None

    def run(self) -> None:
        """Read events whenever no other reader does. No error ends it, but another installation's Redis or broker."""
        while not self.stopping.is_set():
            try:
                lease = self._take_lease()
                if lease is None:
                    self.stopping.wait(RENEWED_EVERY)
                    continue
                try:
                    self._read(lease)
                finally:
                    self._give_back(lease)
            except installation.OtherInstallation as error:
                sys.exit(str(error))
            except LockError:
                logger.info("another observer reads the events")
            except Exception as error:  # noqa: BLE001  # whatever it is: events can be read again once it is over
                self._wait_for(error)

    def stop(self, *_: Any) -> None:
        """End within a batch."""
        self.stopping.set()

    def _wait_for(self, error: Exception) -> None:
        if self._away is None:
            known = isinstance(error, (*BROKER_ERRORS, sa.exc.SQLAlchemyError))
            logger.error("events cannot be read: %s", error, exc_info=None if known else error)
        self._away = str(error)
        self._events.clear()
        self.stopping.wait(PAUSE)

    # The lease

    def _take_lease(self) -> Lock | None:
        installation.mark(self._redis, self._url)
        lease = self._redis.lock(LEASE, timeout=LEASE_SECONDS, blocking=False, thread_local=False)
        return lease if lease.acquire(token=f"{socket.gethostname()}:{uuid4().hex}") else None

    def _give_back(self, lease: Lock) -> None:
        try:
            lease.release()
        except (LockError, redis.RedisError, OSError) as error:
            logger.info("the lease runs out by itself: %s", error)

    # Reading

    def _read(self, lease: Lock) -> None:
        connection = connect(self._app)
        try:
            # Patient again: events may not come for minutes.
            queue = self._queue(connection)
            channel = connection.default_channel
            if queue.durable:
                channel.basic_qos(0, 2 * BATCH, False)
            else:
                self._note_absence()
            with kombu.Consumer(channel, [queue], on_message=self._take, no_ack=not queue.durable, accept=["json"]):
                logger.info("reading task events")
                self._away = None
                self.reading.set()
                while not self.stopping.is_set():
                    self._step(connection, lease)
                self._flush()
        finally:
            self.reading.clear()
            self._events.clear()
            drop(connection)

    def _queue(self, connection: Any) -> kombu.Queue:
        exchange = get_exchange(connection, name=self._app.conf.event_exchange)
        if exchange.type == "fanout":
            name = f"{QUEUE}.{uuid4().hex}"
            return kombu.Queue(name, exchange, routing_key="#", durable=False, auto_delete=True, expires=60.0)
        limits = {"x-max-length": QUEUE_LENGTH}
        return kombu.Queue(QUEUE, exchange, routing_key="#", durable=True, queue_arguments=limits)

    def _take(self, message: Any) -> None:
        try:
            body = message.decode()
        except Exception as error:  # noqa: BLE001  # whatever another program publishes there
            logger.info("an event cannot be decoded: %s", type(error).__name__)
            message.ack()
            return
        events = [event for event in (body if isinstance(body, list) else [body]) if isinstance(event, dict)]
        for place, event in enumerate(events):
            self._events.append((event, message if place == len(events) - 1 else None))
        if not events:
            message.ack()

    def _step(self, connection: Any, lease: Lock) -> None:
        try:
            # With nothing in hand there is nothing to be late for.
            connection.drain_events(timeout=BATCH_SECONDS if self._events else IDLE_SECONDS)
        except TimeoutError:
            # No event; RabbitMQ closes a connection without heartbeats, where it wants some.
            connection.heartbeat_check()
        at = time.monotonic()
        if len(self._events) >= BATCH or at >= self._next["batch"]:
            self._next["batch"] = at + BATCH_SECONDS
            self._flush()
        if at >= self._next["lease"]:
            self._next["lease"] = at + RENEWED_EVERY
            lease.reacquire()
        if at >= self._next["look"]:
            self._next["look"] = at + LOOKED_EVERY
            self._look()
        if at >= self._next["new"]:
            self._next["new"] = at + ASK_NEW_SECONDS
            self._ask(connection, self._nodes.names(since=now() - NEW_FOR))
        if at >= self._next["ask"]:
            self._next["ask"] = at + ASK_SECONDS
            self._ask(connection, self._nodes.names())

    def _flush(self) -> None:
        """Append what was read, then acknowledge it."""
        while self._events:
            batch = [self._events.popleft() for _ in range(min(BATCH, len(self._events)))]
            theirs = [event for event, _ in batch if self._nodes.note(event, now())]
            entries = self._translator.translate(theirs, self._queue_of)
            with self._redis.pipeline(transaction=False) as pipeline:
                for entry in entries:
                    pipeline.xadd(STREAM, entry.fields(), maxlen=STREAM_LENGTH, approximate=True)
                pipeline.execute()
            last = next((message for _, message in reversed(batch) if message is not None), None)
            if last is not None and not last.acknowledged:
                # And all that were read before it.
                last.ack(multiple=True)

    def _look_up(self, ids: Sequence[str]) -> Mapping[str, KnownRun]:
        """The newest run of each of these task ids."""
        names = {id_of_task(each): each for each in ids} | {external_id(each): each for each in ids}
        columns = (Run.id, Run.external_id, Run.attempt, Run.task, Run.started_at, Run.received_at)
        has = sa.or_(Run.id.in_(list(names)), Run.external_id.in_(list(names)))
        with reading(self._engine) as connection:
            rows = connection.execute(sa.select(*columns).where(has).order_by(Run.created_at, Run.id)).all()
        return {
            names[row.external_id if row.external_id in names else row.id]: KnownRun(
                row.id, row.attempt, row.task, row.attempt if row.started_at else None, row.received_at
            )
            for row in rows
        }

    # Workers and gaps

    def _note_absence(self) -> None:
        """Note the time without a reader as a gap for all workers: what was published then is lost."""
        kept, at = self._redis.get(LAST_READ), now()
        last = None if kept is None else datetime.fromtimestamp(float(str(kept)), UTC)
        if last is not None and at - last > GAP_AFTER:
            self._nodes.gaps.append((None, last, at, None))
            self._nodes.forget_all()

    def _look(self) -> None:
        """Read which workers are ours and what the others consume; write what was seen of those, and the gaps."""
        self._nodes.forget_own()
        at, gaps = now(), list(self._nodes.gaps)
        lately = QueueConsumer.seen_at > at - FOREIGN_WORKER_GONE_AFTER
        query = sa.select(QueueConsumer.node, sa.func.min(QueueConsumer.queue)).where(lately, ~QueueConsumer.claims)
        only_one = query.group_by(QueueConsumer.node).having(sa.func.count() == 1)
        with self._engine.begin() as connection:
            self._queue_of = {row[0]: row[1] for row in connection.execute(only_one)}
            observed_workers.keep_workers(connection, self._nodes.seen(at), at)
            observed_workers.keep_gaps(connection, gaps, at)
        del self._nodes.gaps[: len(gaps)]
        self._redis.set(LAST_READ, str(at.timestamp()))

    def _own_nodes(self) -> set[Node]:
        # The rows of adopted workers come a moment after their first events.
        adopted = {(said["name"], said["pid"]) for said in adopted_workers.present(self._redis).values()}
        with reading(self._engine) as connection:
            alive = Worker.alive(datetime.now(UTC), 2 * WORKER_LOST_AFTER)
            rows = connection.execute(sa.select(Worker.name, Worker.pid).where(alive))
            return adopted | {(row.name, row.pid) for row in rows}

    def _ask(self, connection: Any, names: Sequence[str]) -> None:
        """Have these workers send task events, if they do not yet. Raises one of BROKER_ERRORS."""
        if names:
            mailbox = self._app.control.mailbox(connection)
            # On this connection, which is known to work, rather than on one of a pool.
            mailbox.producer_pool = None
            mailbox.cast(list(names), "enable_events")


def run_until_stopped(app: Celery, engine: sa.Engine, settings: Settings) -> None:
    """Read events until SIGTERM or SIGINT. With `OBSERVE` off only wait for that: no worker is asked for events."""
    reader = EventReader(app, engine, settings.redis_url, with_arguments=settings.observe_arguments)
    signal.signal(signal.SIGTERM, reader.stop)
    signal.signal(signal.SIGINT, reader.stop)
    if settings.observe:
        reader.run()
    else:
        logger.info("task events are not read, OBSERVE is off")
        reader.stopping.wait()
