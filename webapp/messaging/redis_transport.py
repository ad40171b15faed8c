"""kombu's Redis transport: a version that survives invalid items in a queue, and the uses of its private names.

kombu takes an item out of a queue before it parses it, and raises its errors through the worker's loop, which would end
the worker.

No other module uses a private name of kombu's: a new version of kombu is checked against this one. A template made by
`captured_messages`, and sent in batches, saves beat most of what publishing each message through Celery costs
(docs/benchmarks.md).
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

from kombu.transport.redis import Channel, GlobalKeyPrefixMixin, Transport
from kombu.utils.json import dumps

logger = logging.getLogger(__name__)

PARTS_OF_BINDING = 3
# Each worker binds its control queue with an empty routing key and pattern.
CONTROL_EXCHANGE = "celery.pidbox"
CONTROL_BINDING = re.compile(rb"(?P<sep>[^\w.@-]+?)(?P=sep).+\.celery\.pidbox")

# With `global_keyprefix` kombu's client adds the prefix to the keys of some commands. Without it in these, which read,
# what was written with the prefix would not be found again.
GlobalKeyPrefixMixin.PREFIXED_SIMPLE_COMMANDS = [
    *{*GlobalKeyPrefixMixin.PREFIXED_SIMPLE_COMMANDS, "EXISTS", "GET", "HSCAN", "LRANGE"}
]


def _log(error: Exception) -> None:
    logger.error("discarded an entry of a queue that is not a message: %s: %s", type(error).__name__, error)


class GuardedChannel(Channel):
    """A channel that skips items that are not messages, and joins the parts of bindings as other programs do.

    They are joined by the transport option `sep`. One binding with another separator makes every reply of a worker to
    `inspect` fail, theirs and ours. So theirs is taken, which their control queues show.
    """

    sep: str
    # A worker replaces it by a function that also counts them.
    discard: Callable[[Exception], None] = staticmethod(_log)

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self.discard(error)
            return True

    def _queue_bind(self, *binding: Any) -> None:
        with self._their_separator():
            super()._queue_bind(*binding)

    def _refresh_bindings(self, queues: Any) -> None:
        with self._their_separator():
            super()._refresh_bindings(queues)

    def _delete(self, queue: str, exchange: str, routing_key: str, pattern: str, *args: Any, **kwargs: Any) -> None:
        with self._their_separator(), self.conn_or_acquire() as client:
            binding = self.sep.join([routing_key or "", pattern or "", queue])
            for key in (self.keyprefix_queue, self.keyprefix_binding_permanent):
                client.srem(key % exchange, binding)
        super()._delete(queue, exchange, routing_key, pattern, *args, **kwargs)

    def get_table(self, exchange: str) -> list[tuple[str, ...]]:
        """The bindings of an exchange: routing key, pattern, queue. Those with another separator are left out."""
        table: list[tuple[str, ...]] = super().get_table(exchange)
        if all(len(binding) == PARTS_OF_BINDING for binding in table):
            return table
        with self._their_separator():
            return [binding for binding in super().get_table(exchange) if len(binding) == PARTS_OF_BINDING]

    @contextmanager
    def _their_separator(self) -> Iterator[None]:
        """For bindings only: it is also in the names of the lists of priorities, where ours stays."""
        own: str = self.sep
        with self.conn_or_acquire() as client:
            bindings = client.smembers(self.keyprefix_queue % CONTROL_EXCHANGE)
        found = {match["sep"].decode() for match in map(CONTROL_BINDING.fullmatch, bindings) if match}
        self.sep = min(found - {own, Channel.sep}, default=own)
        try:
            yield
        finally:
            self.sep = own


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
    """The number of messages in a queue, in the lists of all priorities; 0 if it does not exist.

    Raises ResponseError if the key of that name is not a list.
    """
    return int(channel._size(queue))  # noqa: SLF001


def bound_queues(channel: Any, exchange: str, key: str) -> list[str] | None:
    """The queues that an exchange leads to; None if the broker does not report them, and for fanout."""
    if not hasattr(channel, "_lookup") or channel.typeof(exchange).type == "fanout":
        return None
    return sorted(channel._lookup(exchange, key))  # noqa: SLF001 - as its own `basic_publish` does


def list_key(channel: Any, queue: str, message: dict[str, Any]) -> str:
    """The key of the list that a message goes to, by its priority."""
    priority = channel._get_message_priority(message, reverse=False)  # noqa: SLF001 - as its own `_put` does
    return str(channel._q_for_pri(queue, priority))  # noqa: SLF001


def expires(channel: Any, queue: str) -> bool:
    """Whether a queue expires when it is not used, which each message postpones."""
    return queue in getattr(channel, "_expires", {})


@contextmanager
def captured_messages(channel: Any) -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """Collect the messages that are published on the channel meanwhile, with their queues, and send nothing."""
    kept: list[tuple[str, dict[str, Any]]] = []
    with _replaced_put(channel, lambda queue, message: kept.append((queue, message))):
        yield kept


@contextmanager
def pushed_ahead(channel: Any) -> Iterator[None]:
    """Put the messages that are published on the channel meanwhile at the end of the list that is read next."""

    def put(queue: str, message: dict[str, Any]) -> None:
        with channel.conn_or_acquire() as client:
            client.rpush(list_key(channel, queue, message), dumps(message))

    with _replaced_put(channel, put):
        yield


@contextmanager
def _replaced_put(channel: Any, put: Callable[[str, dict[str, Any]], None]) -> Iterator[None]:
    channel._put = lambda queue, message, **_: put(queue, message)  # noqa: SLF001 - the method that appends to the list
    try:
        yield
    finally:
        del channel._put  # noqa: SLF001


def ask_workers(mailbox: Any, channel: Any, command: str, timeout: float) -> tuple[list[dict[str, Any]], int | None]:
    """The replies of the workers, and how many received the command, if the broker reports it (Redis does)."""
    received: list[int] = []

    def put_fanout(exchange: str, message: Any, routing_key: str, **_: Any) -> None:
        with channel.conn_or_acquire() as client:
            topics = channel._get_publish_topics(exchange, routing_key)  # noqa: SLF001 - as kombu's own does
            received.extend(client.publish(topic, dumps(message)) for topic in topics)

    if is_redis(channel):
        channel._put_fanout = put_fanout  # noqa: SLF001 - kombu's own drops the number
    # On this channel, rather than on a connection of the pool, which waits longer for a broker that does not answer.
    mailbox.producer_pool = None
    replies = mailbox._broadcast(command, reply=True, timeout=timeout)  # noqa: SLF001 - as Celery's `broadcast` does
    return replies or [], sum(received) if received else None


def unacknowledged(channel: Any, queue: str) -> list[tuple[str, str, Any]]:
    """A queue's messages that consumers have taken and not acknowledged: the keys of hash and index, and the tag.

    Our workers keep them in a place of their own, other consumers and earlier versions in Celery's.
    """
    found = []
    common = (type(channel).unacked_key, type(channel).unacked_index_key)
    with channel.conn_or_acquire() as client:
        for key, index in {(channel.unacked_key, channel.unacked_index_key), common}:
            # The client of a channel with a prefix for keys does not add it to this command.
            items = client.execute_command("HGETALL", f"{channel.global_keyprefix}{key}")
            found += [(key, index, tag) for tag, item in items.items() if _routing_key(item) == queue]
    return found


def _routing_key(item: bytes) -> object:
    try:
        _message, _exchange, key = json.loads(item)
    except ValueError:
        return None
    return key


def delete_queue(channel: Any, queue: str) -> None:
    """Delete a queue of the default exchange: its lists, and what consumers have taken and not acknowledged.

    The latter first, because any consumer on this Redis puts it back after the visibility timeout.
    """
    taken = unacknowledged(channel, queue)
    with channel.conn_or_acquire() as client:
        for key, index, tag in taken:
            client.hdel(key, tag)
            client.zrem(index, tag)
        client.delete(*(channel._q_for_pri(queue, each) for each in channel.priority_steps))  # noqa: SLF001


def give_back_unacknowledged(channel: Any) -> None:
    """Return what our workers had taken and not acknowledged to its queues; what other consumers have stays theirs."""
    if channel.unacked_key == type(channel).unacked_key:
        return
    with channel.conn_or_acquire() as client:
        for tag in client.execute_command("HKEYS", f"{channel.global_keyprefix}{channel.unacked_key}"):
            channel.qos.restore_by_tag(tag, client)


def bindings(channel: Any, exchange: str, queues: Collection[str], prefix: str) -> list[Any]:
    """Bindings to an exchange that remain of these queues, and of those whose names have a prefix."""
    with channel.conn_or_acquire() as client:
        members = client.smembers(channel.keyprefix_queue % exchange)
    names = {member: member.decode(errors="replace").rpartition(channel.sep)[2] for member in members}
    return sorted(member for member, name in names.items() if name in queues or name.startswith(prefix))


def unbind(channel: Any, exchange: str, found: Collection[Any]) -> None:
    """Remove such bindings."""
    if found:
        with channel.conn_or_acquire() as client:
            client.srem(channel.keyprefix_queue % exchange, *found)
