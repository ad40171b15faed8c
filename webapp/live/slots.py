"""Slots: how many streams a person can have open, over all web processes.

Each open stream is a member of its person's sorted set in Redis and has to be renewed: the slots of a killed process
are free after a minute. All times are those of Redis.
"""

from __future__ import annotations

from collections.abc import Iterable

import redis

from webapp.live.stream import Stream

STREAMS_PER_PERSON = 5
KEY = "beatdesk:streams:{person}"
# How long a slot lasts without a renewal, and the time between two renewals.
SLOT_SECONDS = 60
RENEWAL_SECONDS = 15.0

_ACQUIRE = """
local now = tonumber(redis.call('TIME')[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[3]), ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 1
"""


def acquire(client: redis.Redis, stream: Stream) -> bool:
    """Acquire a slot for a stream; False if its person has none left. Raises redis.RedisError."""
    key = KEY.format(person=stream.person)
    return bool(client.eval(_ACQUIRE, 1, key, stream.id, STREAMS_PER_PERSON, SLOT_SECONDS))


def release(client: redis.Redis, stream: Stream) -> None:
    """Release the slot of a stream that has ended. Raises redis.RedisError."""
    client.zrem(KEY.format(person=stream.person), stream.id)


def renew(client: redis.Redis, streams: Iterable[Stream]) -> None:
    """Renew the slots of open streams, in one round trip. Raises redis.RedisError."""
    until = client.time()[0] + SLOT_SECONDS
    pipeline = client.pipeline(transaction=False)
    for stream in streams:
        key = KEY.format(person=stream.person)
        pipeline.zadd(key, {stream.id: until})
        pipeline.expire(key, SLOT_SECONDS)
    pipeline.execute()
