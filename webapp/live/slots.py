"""How many streams a person may have open, over all web processes.

Each open stream is a member of a sorted set of its person in Redis, which counts as long as it is renewed: the places
of a process that was killed are free after a minute. Redis's own clock is the only one that takes part.
"""

from __future__ import annotations

from collections.abc import Iterable

import redis

from webapp.live.stream import Stream

STREAMS_PER_PERSON = 5
KEY = "beatdesk:streams:{person}"
# Seconds that a place lasts without being renewed, and between two renewals.
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
    """Whether the person had a place left for this stream; it has it now. Raises redis.RedisError."""
    key = KEY.format(person=stream.person)
    return bool(client.eval(_ACQUIRE, 1, key, stream.id, STREAMS_PER_PERSON, SLOT_SECONDS))


def release(client: redis.Redis, stream: Stream) -> None:
    """The stream has ended. Raises redis.RedisError."""
    client.zrem(KEY.format(person=stream.person), stream.id)


def renew(client: redis.Redis, streams: Iterable[Stream]) -> None:
    """Keep the places of streams that are open, in one round trip. Raises redis.RedisError."""
    until = client.time()[0] + SLOT_SECONDS
    pipeline = client.pipeline(transaction=False)
    for stream in streams:
        key = KEY.format(person=stream.person)
        pipeline.zadd(key, {stream.id: until})
        pipeline.expire(key, SLOT_SECONDS)
    pipeline.execute()
