"""What Beatdesk declared on the broker, and its removal: its queues with their messages, and its mark on RabbitMQ.

Messages that wait in queues of other projects stay, and their workers execute them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from amqp.exceptions import NotFound

from webapp.messaging.celery_config import DEFAULT_QUEUE
from webapp.messaging.installation import EXCHANGE
from webapp.messaging.redis_transport import (
    bindings,
    delete_queue,
    give_back_unacknowledged,
    is_redis,
    size,
    unacknowledged,
    unbind,
)
from webapp.recorder.event_reader import QUEUE as EVENT_QUEUE

QUEUES = (DEFAULT_QUEUE, EVENT_QUEUE)
# Where kombu binds mailboxes of workers, and queues of events, to by default.
EXCHANGES = ("celery.pidbox", "celeryev")


def counted(connection: Any, nodes: Iterable[str]) -> dict[str, int]:
    """Messages by queue; on Redis also bindings that killed workers of these names and observers left behind."""
    channel = connection.default_channel
    if not is_redis(channel):
        return {name: number for name in QUEUES if (number := _depth(connection, name)) is not None}
    found = {DEFAULT_QUEUE: size(channel, DEFAULT_QUEUE) + len(unacknowledged(channel, DEFAULT_QUEUE))}
    found |= {f"bindings to {name}": len(_stale(channel, name, nodes)) for name in EXCHANGES}
    return {name: number for name, number in found.items() if number}


def remove(connection: Any, nodes: Iterable[str]) -> None:
    """Delete them. Can be repeated."""
    channel = connection.default_channel
    if is_redis(channel):
        delete_queue(channel, DEFAULT_QUEUE)
        give_back_unacknowledged(channel)
        for name in EXCHANGES:
            unbind(channel, name, _stale(channel, name, nodes))
        return
    with connection.channel() as own:
        for name in QUEUES:
            own.queue_delete(name)
        own.exchange_delete(EXCHANGE)


def _stale(channel: Any, exchange: str, nodes: Iterable[str]) -> list[Any]:
    return bindings(channel, exchange, {f"{node}.celery.pidbox" for node in nodes}, f"{EVENT_QUEUE}.")


def _depth(connection: Any, name: str) -> int | None:
    # On a channel of its own, which RabbitMQ closes if the queue does not exist.
    try:
        with connection.channel() as own:
            return int(own.queue_declare(name, passive=True).message_count)
    except NotFound:
        return None
