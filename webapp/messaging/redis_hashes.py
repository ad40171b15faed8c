"""Reads hashes in the Redis of another program, for imports. Writes nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice

import redis

from webapp.messaging.producers import describe_error
from webapp.setting_values import server_url

TIMEOUT = 5.0  # seconds
BATCH_SIZE = 500
_GLOB = re.compile(r"([\\*?\[\]])")


class Unreachable(Exception):
    """The other Redis cannot be read; the text is the reason, in one line without a password."""


@contextmanager
def connected(name: str, url: str) -> Iterator[redis.Redis]:
    """A client for a Redis that is not ours, with the TLS options that `REDIS_URL` may have.

    `name` is the option that gave the URL. Raises ConfigError for a URL that cannot work, Unreachable.
    """
    client = redis.Redis.from_url(
        server_url(name, url),
        decode_responses=True,
        encoding_errors="backslashreplace",
        socket_connect_timeout=TIMEOUT,
        socket_timeout=TIMEOUT,
    )
    where = client.connection_pool.connection_kwargs
    try:
        yield client
    except (redis.RedisError, OSError) as error:
        raise Unreachable(
            f"Redis at {where.get('host')}:{where.get('port')} cannot be read: {describe_error(error)}."
        ) from None
    finally:
        client.close()


def read_hashes(client: redis.Redis, prefix: str, field: str, limit: int) -> Iterator[tuple[str, str | None]]:
    """Up to `limit` keys with that prefix, each with this field of its hash; None if it has none or is not a hash."""
    found = client.scan_iter(match=_GLOB.sub(r"\\\1", prefix) + "*", count=BATCH_SIZE)
    # A scan may give a key more than once.
    keys = sorted(set(islice(found, limit)))
    for start in range(0, len(keys), BATCH_SIZE):
        batch = keys[start : start + BATCH_SIZE]
        pipeline = client.pipeline(transaction=False)
        for key in batch:
            pipeline.hget(key, field)
        for key, value in zip(batch, pipeline.execute(raise_on_error=False), strict=True):
            if isinstance(value, redis.RedisError) and not str(value).startswith("WRONGTYPE"):
                raise value
            yield key, value if isinstance(value, str) else None
