"""The keys that Beatdesk keeps in Redis databases, and their removal.

All keys of Beatdesk's own begin with `beatdesk:`, in the broker and the result backend after the project's
`global_keyprefix`. Besides, the result backend has the results of runs that Beatdesk sent, known by their IDs of
version 8. The mark of the installation goes last, so that a removal that was interrupted
can be repeated.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator
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


def prefixes(settings: Settings) -> list[str]:
    """What keys may begin with: nothing, and the project's own prefixes."""
    options = (settings.project.broker_transport_options, settings.project.result_backend_transport_options)
    return sorted({"", *(str(each.get("global_keyprefix", "")) for each in options)})


def connect(url: str) -> redis.Redis:
    """A client that leaves no mark of its own."""
    return redis.Redis.from_url(
        url,
        decode_responses=True,
        encoding_errors="backslashreplace",
        socket_connect_timeout=TIMEOUT,
        socket_timeout=TIMEOUT,
    )


def require_ours(client: Any, url: str, own: str | None, before: Collection[str]) -> None:
    """Raises NotOurs if the database has the mark of another installation than `own`."""
    for prefix in before:
        mark = client.get(prefix + KEY)
        if mark is not None and mark != own:
            raise NotOurs(f"{without_password(url)} belongs to another installation of Beatdesk ({mark})")


def counted(client: Any, before: Collection[str]) -> dict[str, int]:
    """How many keys there are, by the first two parts of their names without the prefix before them."""
    found = Counter(_group(key) for prefix in before for key in _own_keys(client, prefix))
    return dict(sorted(found.items()))


def remove(client: Any, before: Collection[str]) -> None:
    """Delete them, the mark last."""
    for prefix in before:
        found = [prefix + key for key in _own_keys(client, prefix) if key != KEY]
        for start in range(0, len(found), CHUNK):
            client.delete(*found[start : start + CHUNK])
    client.delete(*(prefix + KEY for prefix in before))


def _own_keys(client: Any, before: str) -> Iterator[str]:
    """Without the prefix before them."""
    literal = re.sub(r"([*?\[\]\\])", r"\\\1", before)
    for pattern, own in ((PREFIX, re.compile(".*", re.DOTALL)), (RESULTS, _OWN_RESULT)):
        # A key may be returned twice.
        found = set(client.scan_iter(f"{literal}{pattern}*", count=CHUNK))
        yield from (key for each in found if own.fullmatch(key := each.removeprefix(before)))


def _group(key: str) -> str:
    if key.startswith(RESULTS):
        return f"{RESULTS}…"
    first, second, *rest = key.split(":")
    return ":".join([first, second, *(["…"] if rest else [])])
