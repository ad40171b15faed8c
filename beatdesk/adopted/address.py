"""Which Redis an adopted app reports to."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import redis
from celery import Celery

# The only setting in the environment that is read: other names belong to the project.
VARIABLE = "BEATDESK_REDIS_URL"
# Seconds that a task waits for a Redis that does not answer, before it goes on without.
TIMEOUT = 2.0


class NoAddress(ValueError):
    """No Redis is named, and the broker is none."""


def connect(app: Celery, given: str | None) -> redis.Redis:
    """A client of the Redis to report to, text in and text out; does not connect yet. Raises NoAddress, ValueError.

    The one that is given, else that of `BEATDESK_REDIS_URL`, else the app's broker with its TLS options.
    """
    url, options = given or os.environ.get(VARIABLE), dict[str, Any]()
    if not url:
        url, options = _of_broker(app)
    options |= {"decode_responses": True, "socket_timeout": TIMEOUT, "socket_connect_timeout": TIMEOUT}
    return redis.Redis.from_url(url, **options)


def _of_broker(app: Celery) -> tuple[str, dict[str, Any]]:
    connection = app.connection_for_write()
    # Of several brokers the first one. Options in its address are kombu's own, but those of TLS, which it has read.
    parts = urlsplit(connection.as_uri(include_password=True).partition(";")[0])
    if parts.scheme == "redis+socket":
        database = parse_qs(parts.query).get("virtual_host", ["0"])[0].strip("/")
        return f"unix://{parts.path}?db={database}", {}
    if parts.scheme not in ("redis", "rediss"):
        raise NoAddress(
            f"a Redis is needed, and the broker is none ({parts.scheme}): set {VARIABLE}, "
            "or call beatdesk.adopt(app, redis_url=…)"
        )
    options = dict(connection.ssl) if isinstance(connection.ssl, Mapping) else {}
    return parts._replace(scheme="rediss" if connection.ssl else parts.scheme, query="").geturl(), options
