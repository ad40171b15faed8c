"""Which messages still wait: in the lists of a queue or in a worker's hand (Redis), or in the queue at all (RabbitMQ).

On Redis a message is found by its run's id. Read from the head on, where messages are added: what is added meanwhile
shows a message twice rather than hide one. On RabbitMQ only the number of messages is known, so all runs of a queue
wait while there are some; what a worker has received and not begun is not among them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Any

from kombu.transport.redis import Channel as RedisChannel

# Consumers may have other steps of priority than we do.
PRIORITIES = range(10)
# Messages and bytes that are read of one queue, or of what workers have in hand, in one look.
MAX_MESSAGES = 20_000
MAX_BYTES = 64 * 1024 * 1024
CHUNK = 200
# In a message's headers and properties, which are plain JSON; the arguments within its body are not.
_ID = re.compile(rb'"(?:id|correlation_id)": ?"([0-9A-Za-z_.:-]{1,255})"')


class Backlog:
    """What waits at the time of one look. Not thread-safe. Raises what the transport raises."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._channel = connection.default_channel
        self._queued: dict[str | None, frozenset[str] | None] = {None: frozenset()}
        self._in_hand: frozenset[str] | None = None
        self._in_hand_known = False

    def waiting(self, queue: str | None, ids: Collection[str]) -> set[str]:
        """Those of these messages that may still wait there: all of them when that cannot be known.

        Without a queue, those that a worker has in hand, as far as Redis says so.
        """
        if not isinstance(self._channel, RedisChannel):
            return set(ids) if queue is not None and self._depth(queue) else set()
        if queue is not None and queue not in self._queued:
            self._queued[queue] = self._read(self._lists(queue))
        if not self._in_hand_known:
            self._in_hand, self._in_hand_known = self._read(self._unacknowledged()), True
        queued, in_hand = self._queued[queue], self._in_hand
        if queued is None or in_hand is None:
            return set(ids)
        return {run_id for run_id in ids if run_id in queued or run_id in in_hand}

    def _depth(self, queue: str) -> int:
        # A channel of its own: RabbitMQ closes the one on which a queue is asked for that does not exist.
        with self._connection.channel() as other:
            try:
                return int(other.queue_declare(queue, passive=True).message_count)
            except self._connection.channel_errors:
                return 0

    def _lists(self, queue: str) -> Iterable[bytes]:
        channel = self._channel
        steps = {*PRIORITIES, *channel.priority_steps} - {0}
        for key in (queue, *(f"{queue}{channel.sep}{step}" for step in sorted(steps))):
            start = 0
            # Not by the channel's own client, which may be waiting for answers of workers.
            with channel.conn_or_acquire() as client:
                while chunk := client.lrange(key, start, start + CHUNK - 1):
                    yield from chunk
                    start += CHUNK

    def _unacknowledged(self) -> Iterable[bytes]:
        with self._channel.conn_or_acquire() as client:
            # Of our workers, and of others.
            for key in {self._channel.unacked_key, type(self._channel).unacked_key}:
                for _, value in client.hscan_iter(key, count=CHUNK):
                    yield value

    @staticmethod
    def _read(messages: Iterable[bytes]) -> frozenset[str] | None:
        """The ids of these messages; None when there are too many to be read."""
        found: set[str] = set()
        size = 0
        for number, message in enumerate(messages):
            size += len(message)
            if number >= MAX_MESSAGES or size > MAX_BYTES:
                return None
            found.update(run_id.decode() for run_id in _ID.findall(message))
        return frozenset(found)
