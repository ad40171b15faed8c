"""The hashes of another program's Redis, with the sets that belong to them. Nothing is written there."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

import redis

from webapp.config import server_url
from webapp.messaging.producers import describe_error

TIMEOUT = 5.0  # seconds
_AT_ONCE = 500
_GLOB = re.compile(r"([\\*?\[\]])")

Item = TypeVar("Item")


class Unreachable(Exception):
    """That Redis cannot be read; the text says why, in one line and without a password."""


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


def read_hashes(client: redis.Redis, prefix: str, field: str, most: int) -> Iterator[tuple[str, str | None]]:
    """At most `most` keys with that prefix, each with this field of its hash; None where there is none, or no hash."""
    found = client.scan_iter(match=_GLOB.sub(r"\\\1", prefix) + "*", count=_AT_ONCE)
    # A scan may give a key more than once.
    keys = sorted(set(islice(found, most)))
    for some in _chunks(keys):
        pipeline = client.pipeline(transaction=False)
        for key in some:
            pipeline.hget(key, field)
        for key, value in zip(some, pipeline.execute(raise_on_error=False), strict=True):
            if isinstance(value, redis.RedisError) and not str(value).startswith("WRONGTYPE"):
                raise value
            yield key, value if isinstance(value, str) else None


def _chunks(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), _AT_ONCE):
        yield items[start : start + _AT_ONCE]
