"""The keys that Beatdesk keeps in Redis databases, and their removal.

All keys of Beatdesk's own begin with `beatdesk:`. Besides, the result backend has the results of runs that Beatdesk
sent, known by their IDs of version 8. The mark of the installation goes last, so that a removal that was interrupted
can be repeated.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import redis

from webapp.config import Settings
from webapp.messaging.installation import KEY, without_password

PREFIX = "beatdesk:"
RESULTS = "celery-task-meta-"
# IDs of runs that began as a row; see `beatdesk.execution.ids`.
_OWN_RESULT = re.compile(RESULTS + r"[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
_SCHEMES = ("redis", "rediss", "unix")
CHUNK = 1000
TIMEOUT = 10.0


class NotOurs(Exception):
    """A Redis database belongs to another installation."""


def urls(settings: Settings) -> list[str]:
    """The Redis databases that an installation uses, each once."""
    given = (settings.redis_url, settings.broker_url, settings.result_backend)
    # By server and number: one may be named with options.
    found = {without_password(url).partition("?")[0]: url for url in given if urlsplit(url).scheme in _SCHEMES}
    return list(found.values())


def connect(url: str) -> redis.Redis:
    """A client that leaves no mark of its own."""
    return redis.Redis.from_url(
        url,
        decode_responses=True,
        encoding_errors="backslashreplace",
        socket_connect_timeout=TIMEOUT,
        socket_timeout=TIMEOUT,
    )


def require_ours(client: Any, url: str, own: str | None) -> None:
    """Raises NotOurs if the database has the mark of another installation than `own`."""
    mark = client.get(KEY)
    if mark is not None and mark != own:
        raise NotOurs(f"{without_password(url)} belongs to another installation of Beatdesk ({mark})")


def counted(client: Any) -> dict[str, int]:
    """How many keys there are, by the first two parts of their names."""
    return dict(sorted(Counter(_group(key) for key in _own_keys(client)).items()))


def remove(client: Any) -> None:
    """Delete them, the mark last."""
    chunk: list[str] = []
    for key in _own_keys(client):
        if key != KEY:
            chunk.append(key)
        if len(chunk) == CHUNK:
            client.delete(*chunk)
            chunk.clear()
    client.delete(*chunk, KEY)


def _own_keys(client: Any) -> Iterator[str]:
    # A key may be returned twice.
    yield from set(client.scan_iter(f"{PREFIX}*", count=CHUNK))
    yield from {key for key in client.scan_iter(f"{RESULTS}*", count=CHUNK) if _OWN_RESULT.fullmatch(key)}


def _group(key: str) -> str:
    if key.startswith(RESULTS):
        return f"{RESULTS}…"
    first, second, *rest = key.split(":")
    return ":".join([first, second, *(["…"] if rest else [])])
