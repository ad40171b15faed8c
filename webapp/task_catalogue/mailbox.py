"""Reads announcements from the Redis stream in which they wait until they are in the database."""

from __future__ import annotations

import json
import logging
from typing import Any, NamedTuple

import redis

from beatdesk.announcing import STREAM, unpacked
from beatdesk.encoding import NAME_LENGTH, encodable
from webapp.task_catalogue.announced import Announcement
from webapp.task_catalogue.task_names import is_internal

logger = logging.getLogger(__name__)

# Of one app.
MAX_TASKS = 5_000
# Of one task, in characters of JSON; of a larger one only the name is known.
MAX_DESCRIPTION = 100_000
# Announcements that are taken at once.
BATCH = 20


class Waiting(NamedTuple):
    """The entries that were read, by id, and what they announce, in order; some may announce nothing."""

    ids: list[str]
    announcements: list[Announcement]


def read(client: redis.Redis) -> Waiting:
    """The first entries that wait. `client` decodes text. Raises redis.RedisError, OSError."""
    entries: Any = client.xrange(STREAM, count=BATCH)
    found = [_announcement(fields) for _, fields in entries]
    return Waiting([entry_id for entry_id, _ in entries], [one for one in found if one is not None])


def remove(client: redis.Redis, ids: list[str]) -> None:
    """Remove entries that are in the database. Raises redis.RedisError, OSError."""
    if ids:
        client.xdel(STREAM, *ids)


def _announcement(fields: dict[str, str]) -> Announcement | None:
    source = encodable(str(fields.get("source", "")))[:NAME_LENGTH]
    try:
        made = unpacked(fields["body"])
        app, tasks = made["app"], made["tasks"]
        accepts = {"accepts": [str(one) for one in app.get("accepts", ())]}
        described = {
            name: _description({**given, **accepts})
            for name, given in list(tasks.items())[:MAX_TASKS]
            if name and len(name) <= NAME_LENGTH and name.isprintable() and not is_internal(name)
        }
        name = encodable(str(app.get("name", "")))[:NAME_LENGTH]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        logger.warning("an announcement of %r cannot be read: %s: %s", source, type(error).__name__, error)
        return None
    return Announcement(source, name, described)


def _description(given: dict[str, Any]) -> str:
    # NUL is no part of texts in PostgreSQL; JSON text has an escape for it.
    text = json.dumps(given, sort_keys=True)
    return text if len(text) <= MAX_DESCRIPTION else "{}"
