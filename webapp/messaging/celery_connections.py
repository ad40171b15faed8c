"""Celery's connections to the broker, and its queues, of which only our own one is declared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import kombu
from celery.app import amqp
from celery.exceptions import WorkerShutdown
from celery.platforms import EX_FAILURE
from celery.utils.functional import maybe_list
from celery.utils.log import get_logger
from redis.exceptions import RedisError

from webapp.messaging import installation
from webapp.messaging.celery_config import DEFAULT_QUEUE, SERIALIZER
from webapp.messaging.delivery import CheckedProducer, KeepUndelivered
from webapp.messaging.redis_transport import guarded
from webapp.queue_names import require_valid
from webapp.secrecy.celery_parts import MaskingAMQP

logger = get_logger(__name__)

# Seconds between attempts to connect: the first pause, its growth, its maximum. kombu's own pauses grow to 30 s, so
# that a worker would idle for half a minute after the broker is back.
RETRY_START, RETRY_STEP, RETRY_MAX = 0.5, 0.5, 2.0


class Connection(kombu.Connection):
    """A connection that retries every two seconds while the broker is away."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # A pool makes connections of kombu's class, from what this one has.
        self.transport_cls = self.get_transport_cls()

    def get_transport_cls(self) -> Any:
        """As kombu's, with its Redis transport replaced by one that survives invalid items in a queue."""
        return guarded(super().get_transport_cls())

    def ensure_connection(self, *args: Any, **kwargs: Any) -> Any:
        """As kombu's, with our pauses where the caller names none."""
        pauses = {"interval_start": RETRY_START, "interval_step": RETRY_STEP, "interval_max": RETRY_MAX}
        return super().ensure_connection(*args, **pauses | kwargs)


class Queues(amqp.Queues):
    """Queues by name. Ours is declared; every other one was declared by its consumers, in a way of their own.

    All are reached by the default exchange, so that no bindings are needed.
    """

    def _add(self, queue: kombu.Queue) -> kombu.Queue:
        ours = queue.name == DEFAULT_QUEUE
        made = kombu.Queue(
            queue.name,
            kombu.Exchange("", no_declare=True),
            queue.name,
            no_declare=not ours,
            max_priority=self.max_priority if ours else None,
        )
        dict.__setitem__(self, made.name, made)
        return made

    def select(self, include: Any) -> None:
        """Consume these instead of the default one. Raises BadQueueName."""
        for name in maybe_list(include) or ():
            require_valid(name)
        super().select(include)

    def select_add(self, queue: Any, **kwargs: Any) -> kombu.Queue:
        """Consume this one too, for the command `add_consumer`. Raises BadQueueName."""
        require_valid(getattr(queue, "name", queue))
        return super().select_add(queue, **kwargs)


class Amqp(MaskingAMQP):
    """Celery's factory of connections, queues and messages. Each message is JSON, whatever its task or call sets."""

    Connection = Connection
    queues_cls = Queues

    def __init__(self, app: Any) -> None:
        super().__init__(app)
        # Keeps messages that could not be delivered; see `webapp.messaging.delivery`.
        self.keep_undelivered: KeepUndelivered | None = None
        # Queues that a worker is to consume as soon as the broker has them.
        self.awaited: set[str] = set()

    def _create_task_sender(self) -> Callable[..., Any]:
        send = super()._create_task_sender()

        def send_as_json(producer: Any, name: str, message: Any, **options: Any) -> Any:
            checked = CheckedProducer(producer, self.default_queue, self.keep_undelivered)
            return send(checked, name, message, **options | {"serializer": SERIALIZER})

        return send_as_json

    def TaskConsumer(self, channel: Any, queues: Any = None, accept: Any = None, **kw: Any) -> Any:  # noqa: N802 - Celery's name
        """A consumer of the worker's queues, after a check of the broker's owner; called at each connection.

        Queues that do not exist yet are awaited.
        """
        _mark_broker(channel)
        if queues is None:
            for name in [name for name in self.queues.consume_from if not self.exists(channel, name)]:
                logger.warning("The queue %s does not exist on the broker; it is consumed once it does.", name)
                self.queues.deselect(name)
                self.awaited.add(name)
            queues = list(self.queues.consume_from.values())
        # Not by the inherited method, for which an empty list means all queues.
        return self.Consumer(channel, accept=accept or self.app.conf.accept_content, queues=queues, **kw)

    def exists(self, connection: Any, name: str) -> bool:
        """Whether the broker has a queue, or creates it at its first use. Raises the transport's errors."""
        if name == DEFAULT_QUEUE or connection.transport.driver_type != "amqp":
            return True
        # On a channel of its own, which RabbitMQ closes if the queue does not exist.
        try:
            with connection.channel() as channel:
                channel.queue_declare(name, passive=True)
        except connection.channel_errors:
            return False
        return True


def _mark_broker(channel: Any) -> None:
    """Set our mark on the broker. Raises WorkerShutdown where it is another installation's."""
    try:
        installation.mark_broker(getattr(channel.connection, "client", channel))
    except installation.OtherInstallation as error:
        logger.critical(error)
        raise WorkerShutdown(EX_FAILURE) from error
    except RedisError as error:
        logger.warning("the owner of the broker is checked later: %s", error)
