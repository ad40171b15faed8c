"""Which queues this worker consumes.

1. `-Q` of its command, else WORKER_QUEUES, as they are.
2. Else its own queue, `beatdesk`; and with TASK_MODULES also `celery`, where those tasks' callers send to by Celery's
   default, unless another program's worker consumes it: each would discard what it does not know of the other's.
   So `celery` is consumed only once two looks at the workers have found no such worker, and given back for good when
   one appears. A starting worker greets all others before it consumes: that gives it back at once, until it is known
   what the new one consumes.
3. A queue that RabbitMQ does not have yet is consumed once it exists (see `webapp.messaging.celery_connections.Amqp`).

A thread looks, and has the worker's own loop change the queues.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from typing import Any

import sqlalchemy as sa
from celery import signals
from celery.worker.control import Panel

from webapp.config import Settings
from webapp.database.engine import database_now
from webapp.database.reads import reading
from webapp.extensions import celery, db
from webapp.liveness import CONSUMER_POLL_SECONDS, WORKER_LOST_AFTER
from webapp.messaging.celery_config import DEFAULT_QUEUE, SHARED_QUEUE
from webapp.messaging.producers import BROKER_ERRORS, connect, drop
from webapp.messaging.redis_transport import ask_workers
from webapp.queue_names import refusal
from webapp.run_store.worker_models import Worker

logger = logging.getLogger(__name__)

# Seconds between two looks for a queue that is not consumed yet.
LOOK_AGAIN_AFTER = 3.0
# Looks without another program's worker that it takes.
CLEAR_LOOKS = 2
# Seconds that workers have to answer.
REPLY_TIMEOUT = 1.0
# How the node names of our workers begin (Procfile).
OUR_NODES = f"{DEFAULT_QUEUE}@"


class Answer(Enum):
    """Whether another program's worker consumes the shared queue."""

    NO = "no"
    YES = "yes"
    UNKNOWN = "unknown"


@signals.celeryd_init.connect
def _choose(options: Mapping[str, Any], **_: Any) -> None:
    """Before anything is consumed."""
    settings: Settings = celery.flask_app.extensions["settings"]
    given = options.get("queues")
    names = given.split(",") if isinstance(given, str) else list(given or ())
    for name in names:
        if reason := refusal(name):
            raise SystemExit(f"-Q names a queue {name!r}. {reason}")
    celery.amqp.queues.select(names or settings.worker_queues or [DEFAULT_QUEUE])
    _watch.shared = not names and settings.worker_queues is None and bool(settings.task_modules)


class Watch:
    """Watches for awaited queues, and whether the shared queue may be consumed. One in a worker's main process."""

    def __init__(self) -> None:
        self.shared = False
        self._clear = 0
        self._warned = False
        self._consumer: Any = None
        self._stopping = False
        self._woken = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, consumer: Any) -> None:
        """Begin to look, where there is anything to look for."""
        self._consumer = consumer
        self._clear, self._warned, self._stopping = 0, False, False
        self._woken.clear()
        self._thread = threading.Thread(target=self._run, name="consumption", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread, once its look is over."""
        self._stopping = True
        self._woken.set()
        if self._thread is not None:
            self._thread.join(timeout=2 * REPLY_TIMEOUT)

    def greeted_by(self, node: str) -> None:
        """A worker has started, or is connected again: it will consume in a moment. Called in the worker's loop."""
        if self.shared and not node.startswith(OUR_NODES):
            self._clear = 0
            self._give_back()
            self._woken.set()

    def _run(self) -> None:
        wait = 0.0
        while not self._stopping:
            if self._woken.wait(wait):
                self._woken.clear()
                wait = LOOK_AGAIN_AFTER
                continue
            wait = CONSUMER_POLL_SECONDS
            if not self.shared and not celery.amqp.awaited:
                continue
            try:
                with _connection() as connection:
                    self._take_awaited(connection)
                    if self.shared:
                        self._look(connection)
            except BROKER_ERRORS as error:
                logger.info("the queues cannot be inspected: %s", error)
            if celery.amqp.awaited or (self.shared and self._clear < CLEAR_LOOKS):
                wait = LOOK_AGAIN_AFTER

    def _take_awaited(self, connection: Any) -> None:
        for name in sorted(celery.amqp.awaited):
            # The shared one is for `_look` to decide.
            if not (self.shared and name == SHARED_QUEUE) and celery.amqp.exists(connection, name):
                celery.amqp.awaited.discard(name)
                self._consume(name)

    def _look(self, connection: Any) -> None:
        answer, node = _foreign_consumer(connection)
        if answer is Answer.YES:
            self.shared = False
            celery.amqp.awaited.discard(SHARED_QUEUE)
            self._give_back()
            logger.warning(
                "Another program's worker, %s, consumes the queue %s, so this one consumes only %s. To share that "
                "queue anyway, set WORKER_QUEUES=%s,%s.",
                node,
                SHARED_QUEUE,
                DEFAULT_QUEUE,
                DEFAULT_QUEUE,
                SHARED_QUEUE,
            )
            return
        if answer is Answer.UNKNOWN:
            self._clear = 0
            if not self._warned and not self._consumes():
                self._warned = True
                logger.warning(
                    "The queue %s is not consumed: a worker that does not answer may consume it. To consume it "
                    "anyway, set WORKER_QUEUES=%s,%s.",
                    SHARED_QUEUE,
                    DEFAULT_QUEUE,
                    SHARED_QUEUE,
                )
            return
        self._clear += 1
        if self._clear >= CLEAR_LOOKS and not self._consumes() and celery.amqp.exists(connection, SHARED_QUEUE):
            celery.amqp.awaited.discard(SHARED_QUEUE)
            self._consume(SHARED_QUEUE)

    @staticmethod
    def _consumes() -> bool:
        return SHARED_QUEUE in celery.amqp.queues.consume_from

    def _consume(self, name: str) -> None:
        self._consumer.call_soon(self._begin, name)

    def _begin(self, name: str) -> None:
        if name == SHARED_QUEUE and self._clear < CLEAR_LOOKS and self.shared:
            # A worker has greeted this one meanwhile.
            return
        logger.warning("The queue %s is consumed from now on.", name)
        self._consumer.add_task_queue(name)

    def _give_back(self) -> None:
        if self._consumes():
            self._consumer.call_soon(self._consumer.cancel_task_queue, SHARED_QUEUE)


_watch = Watch()


@contextmanager
def _connection() -> Iterator[Any]:
    connection = connect(celery)
    try:
        yield connection
    finally:
        drop(connection)


def _foreign_consumer(connection: Any) -> tuple[Answer, str]:
    """Whether another program's worker consumes the shared queue, and the name of its node.

    1. Every worker is asked for its queues. One that answers is ours if a living row of `workers` has its name; of two
       answers under one name, one is not.
    2. One that does not answer may be busy: a worker with one process and no pool answers between two tasks. Redis
       says how many received the question, RabbitMQ how many consume the queue.
    """
    ours = _our_nodes()
    if ours is None:
        return Answer.UNKNOWN, ""
    replies, heard = _active_queues(connection)
    by_name = Counter(node for node, _ in replies)
    consuming = [node for node, queues in replies if SHARED_QUEUE in queues]
    for node in consuming:
        if not node.startswith(OUR_NODES) and by_name[node] > ours[node]:
            return Answer.YES, node
    silent_ours = (ours - by_name).total()
    if heard is not None and heard > len(replies) + silent_ours:
        return Answer.UNKNOWN, ""
    if heard is None and _consumer_count(connection) > len(consuming):
        return Answer.UNKNOWN, ""
    return Answer.NO, ""


def _our_nodes() -> Counter[str] | None:
    """How many living workers of ours have each name; None while the database is away."""
    try:
        with celery.flask_app.app_context(), reading(db.engine) as connection:
            at = connection.execute(sa.select(database_now(connection))).scalar_one()
            return Counter(connection.scalars(sa.select(Worker.name).where(Worker.alive(at, 2 * WORKER_LOST_AFTER))))
    except sa.exc.SQLAlchemyError as error:
        logger.info("the workers cannot be read: %s", error)
        return None


def _active_queues(connection: Any) -> tuple[list[tuple[str, set[str]]], int | None]:
    """What each worker that answers consumes, and how many heard the question, where the broker says it (Redis)."""
    mailbox = celery.control.mailbox(connection)
    answers, heard = ask_workers(mailbox, connection.default_channel, "active_queues", REPLY_TIMEOUT)
    replies = [
        (node, {str(queue["name"]) for queue in queues})
        for answer in answers
        for node, queues in answer.items()
        if isinstance(queues, list)
    ]
    return replies, heard


def _consumer_count(connection: Any) -> int:
    """How many consume the shared queue, with RabbitMQ."""
    try:
        with connection.channel() as channel:
            return int(channel.queue_declare(SHARED_QUEUE, passive=True).consumer_count)
    except connection.channel_errors:
        return 0


@signals.worker_ready.connect
def _ready(sender: Any, **_: Any) -> None:
    _watch.start(sender)


@signals.worker_shutdown.connect
def _stop(**_: Any) -> None:
    _watch.stop()


_hello = Panel.data["hello"]


def _greeted(state: Any, from_node: str, revoked: Any = None, **more: Any) -> Any:
    """Celery's `hello`, by which a starting worker asks the others what was revoked."""
    if from_node != state.hostname:
        _watch.greeted_by(from_node)
    return _hello(state, from_node, revoked, **more)


Panel.data["hello"] = _greeted
