"""How this program connects to the broker: soon again when it was away."""

from __future__ import annotations

import logging
from typing import Any

import kombu
from celery.exceptions import WorkerShutdown
from celery.platforms import EX_FAILURE
from redis.exceptions import RedisError

from webapp import installation
from webapp.celery_config import SERIALIZER
from webapp.secrecy.celery_parts import MaskingAMQP

logger = logging.getLogger(__name__)

# Seconds between attempts: the first, what each adds, the longest. kombu's own grow to 30, so that a worker would idle
# for half a minute after the broker is back.
FIRST, STEP, LONGEST = 0.5, 0.5, 2.0


class Connection(kombu.Connection):
    """A connection that is tried every two seconds while the broker is away."""

    def ensure_connection(self, *args: Any, **kwargs: Any) -> Any:
        """As kombu's, with our pauses where the caller names none."""
        pauses = {"interval_start": FIRST, "interval_step": STEP, "interval_max": LONGEST}
        return super().ensure_connection(*args, **pauses | kwargs)


class Amqp(MaskingAMQP):
    """What makes Celery's connections, queues and messages. Each is JSON, whatever its task or the call asks for."""

    Connection = Connection

    def TaskConsumer(self, channel: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N802  # Celery's name
        """What a worker consumes with, of a broker that is ours; made anew after each time that it was away."""
        try:
            installation.mark_broker(channel.connection.client)
        except installation.OtherInstallation as error:
            logger.critical(error)
            raise WorkerShutdown(EX_FAILURE) from error
        except RedisError as error:
            logger.warning("whose the broker is is looked at later: %s", error)
        return super().TaskConsumer(channel, *args, **kwargs)

    def _create_task_sender(self) -> Any:
        send = super()._create_task_sender()

        def send_as_json(producer: Any, name: str, message: Any, **options: Any) -> Any:
            return send(producer, name, message, **options | {"serializer": SERIALIZER})

        return send_as_json
