"""kombu's Redis transport: one that no item in a queue ends, and what only its private names give.

Whatever lies in the list of a queue is taken out of it before it is looked at; kombu raises what it finds wrong with it
through the worker's loop, which takes that for a fault of the worker.

No other module uses a private name of kombu's: a new version of it is checked against this one. A template made by
`captured_messages`, and sent in batches, saves beat most of what publishing each message through Celery costs
(docs/benchmarks.md).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from kombu.transport.redis import Channel, Transport
from kombu.utils.json import dumps

logger = logging.getLogger(__name__)


def _log(error: Exception) -> None:
    logger.error("discarded an entry of a queue that is not a message: %s: %s", type(error).__name__, error)


class GuardedChannel(Channel):
    """A channel that passes over what is no message."""

    # A worker counts it too, by a function of its own; a program that only sends needs nothing of a worker.
    discard: Callable[[Exception], None] = staticmethod(_log)

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self.discard(error)
            return True


class GuardedTransport(Transport):
    """The transport of such channels."""

    Channel = GuardedChannel


def guarded(transport: Any) -> Any:
    """The transport class to use instead of one of kombu's."""
    return GuardedTransport if transport is Transport else transport


def is_redis(channel: Any) -> bool:
    """Whether a channel is of this transport."""
    return isinstance(channel, Channel)


def size(channel: Any, queue: str) -> int:
    """How many messages wait in a queue, in the lists of all priorities; none when it does not exist.

    Raises ResponseError when something else has its name.
    """
    return int(channel._size(queue))  # noqa: SLF001


def bound_queues(channel: Any, exchange: str, key: str) -> list[str] | None:
    """The queues that an exchange leads to; None where the broker does not say, and where all listeners get it."""
    if not hasattr(channel, "_lookup") or channel.typeof(exchange).type == "fanout":
        return None
    return sorted(channel._lookup(exchange, key))  # noqa: SLF001 - as its own `basic_publish` does


def list_key(channel: Any, queue: str, message: dict[str, Any]) -> str:
    """The key of the list that a message goes to, by its priority."""
    priority = channel._get_message_priority(message, reverse=False)  # noqa: SLF001 - as its own `_put` does
    return str(channel._q_for_pri(queue, priority))  # noqa: SLF001


def expires(channel: Any, queue: str) -> bool:
    """Whether a queue is dropped when it is not used, which each publication puts off."""
    return queue in getattr(channel, "_expires", {})


@contextmanager
def captured_messages(channel: Any) -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """Keep what is published on the channel meanwhile, queues and messages, and send nothing."""
    kept: list[tuple[str, dict[str, Any]]] = []
    with _replaced_put(channel, lambda queue, message: kept.append((queue, message))):
        yield kept


@contextmanager
def pushed_ahead(channel: Any) -> Iterator[None]:
    """Put what is published on the channel meanwhile where the list is read next."""

    def put(queue: str, message: dict[str, Any]) -> None:
        with channel.conn_or_acquire() as client:
            client.rpush(list_key(channel, queue, message), dumps(message))

    with _replaced_put(channel, put):
        yield


@contextmanager
def _replaced_put(channel: Any, put: Callable[[str, dict[str, Any]], None]) -> Iterator[None]:
    channel._put = lambda queue, message, **_: put(queue, message)  # noqa: SLF001 - the method that would append
    try:
        yield
    finally:
        del channel._put  # noqa: SLF001


def ask_workers(mailbox: Any, channel: Any, command: str, timeout: float) -> tuple[list[dict[str, Any]], int | None]:
    """What each worker answers, and how many heard the question, where the broker says it (Redis)."""
    heard: list[int] = []

    def put_fanout(exchange: str, message: Any, routing_key: str, **_: Any) -> None:
        with channel.conn_or_acquire() as client:
            topics = channel._get_publish_topics(exchange, routing_key)  # noqa: SLF001 - as kombu's own does
            heard.extend(client.publish(topic, dumps(message)) for topic in topics)

    if is_redis(channel):
        channel._put_fanout = put_fanout  # noqa: SLF001 - kombu's own drops the number
    # On its own connection, rather than on one that waits longer for a broker that does not answer.
    mailbox.producer_pool = None
    answers = mailbox._broadcast(command, reply=True, timeout=timeout)  # noqa: SLF001 - as Celery's `broadcast` does
    return answers or [], sum(heard) if heard else None
