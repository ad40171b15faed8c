"""The last step of publishing a task's message: checks the queue's name, and detects a queue that does not exist.

Only our own queue is declared (see `webapp.messaging.celery_connections`); others are their consumers'. RabbitMQ
silently drops a message without a queue unless it is published as mandatory; then it returns the message before it
confirms it. Redis creates a list of any name, but drops a message whose exchange has no matching queue.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from kombu import Queue

from beatdesk.execution.message import UNDELIVERED_HEADER
from webapp.messaging.producers import (
    BROKER_ERRORS,
    ConnectionLost,
    NotNow,
    Unsendable,
    concerns_connection,
    describe_error,
)
from webapp.messaging.redis_transport import bound_queues
from webapp.queue_names import target_refusal

# Takes care of a message that could not be delivered, and says whether it did: its headers, body, routing key, reason.
KeepUndelivered = Callable[[Mapping[str, Any], Any, str, str], bool]


class Undeliverable(NotNow):
    """The broker has no queue for this message, which is tried again later. The text is the reason."""


class CheckedProducer:
    """A kombu producer that refuses reserved queues, and raises where there is no queue.

    `own` is the queue that is declared.
    """

    def __init__(self, producer: Any, own: Queue, keep: KeepUndelivered | None) -> None:
        self._producer = producer
        self._own = own
        self._keep = keep

    def __getattr__(self, name: str) -> Any:
        return getattr(self._producer, name)

    def publish(self, body: Any, *, exchange: Any, routing_key: str, headers: dict[str, Any], **more: Any) -> Any:
        """As `kombu.Producer.publish`. Raises Unsendable, Undeliverable, or the transport's errors."""
        options = {"exchange": exchange, "routing_key": routing_key, "headers": headers, **more}
        if "task" not in headers:
            # The event `task-sent`.
            return self._producer.publish(body, **options)
        exchange = getattr(exchange, "name", exchange) or ""
        if reason := target_refusal(None if exchange else routing_key, exchange, routing_key):
            raise Unsendable(reason)
        try:
            if self._producer.connection.transport.driver_type == "amqp":
                return self._publish_mandatory(body, exchange, options)
            self._check_bindings(exchange, routing_key)
            return self._producer.publish(body, **options)
        except Undeliverable as error:
            if self._keep is None or not self._keep(headers, body, routing_key, str(error)):
                raise
            headers[UNDELIVERED_HEADER] = str(error)
            return None

    def _publish_mandatory(self, body: Any, exchange: str, options: dict[str, Any]) -> Any:
        key = options["routing_key"]
        done, returned = self._mandatory(body, options)
        if returned and key == self._own.name and not exchange:
            # Our queue was deleted after this connection had declared it.
            with _raising_connection_lost():
                self._own(self._producer.channel).declare()
            done, returned = self._mandatory(body, options)
        if returned:
            missing = f"the queue {key} does not exist on the broker"
            raise Undeliverable(_nowhere(exchange, key) if exchange else missing)
        return done

    def _mandatory(self, body: Any, options: dict[str, Any]) -> tuple[Any, list[Any]]:
        """Publish as mandatory; gives the result, and the messages that were returned."""
        returned: list[Any] = []

        def returns(*answer: Any) -> None:
            returned.append(answer)

        with _raising_connection_lost():
            listeners = self._producer.channel.events["basic_return"]
        listeners.add(returns)
        try:
            return self._producer.publish(body, **options | {"mandatory": True}), returned
        finally:
            listeners.discard(returns)

    def _check_bindings(self, exchange: str, key: str) -> None:
        if not exchange:
            return
        with _raising_connection_lost():
            found = bound_queues(self._producer.channel, exchange, key)
        if found is not None and not found:
            raise Undeliverable(_nowhere(exchange, key))
        for queue in found or ():
            if reason := target_refusal(None, None, queue):
                raise Unsendable(reason)


@contextmanager
def _raising_connection_lost() -> Iterator[None]:
    """Turns errors of the connection into ConnectionLost, as `webapp.messaging.producers.Producer` does."""
    try:
        yield
    except BROKER_ERRORS as error:
        if concerns_connection(error):
            raise ConnectionLost(describe_error(error)) from error
        raise


def _nowhere(exchange: str, key: str) -> str:
    return f"the exchange {exchange} leads to no queue for the routing key {key}"
