"""Counts the messages that our workers discarded, in Redis by queue, task and reason, for pages and metrics.

Celery discards an unknown task with a line in its log. On a queue that several programs share, that line is all that is
left of another program's message, so it is counted too. Counters only grow, and start again when Redis is emptied.
"""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import redis

from webapp.extensions import celery
from webapp.messaging import broker

logger = logging.getLogger(__name__)

KEY = "beatdesk:discarded"
LAST_KEY = "beatdesk:discarded:last"
# Names come from messages; further kinds than these are counted together.
MAX_KINDS = 200
MAX_TEXT_LENGTH = 200
OTHERS = json.dumps(["", "", "others"])


@dataclass(frozen=True, slots=True)
class Discarded:
    """How many messages of a task were discarded from a queue, and why; `last_at` is of all that were counted."""

    queue: str
    task: str
    reason: str
    count: int
    last_at: datetime | None


def count(queue: str, task: str, reason: str) -> None:
    """Count one, and write it to the log. Never raises."""
    logger.error("discarded a message of task %r from queue %r: %s", task, queue, reason)
    # As JSON in ASCII, which Redis takes whatever the names hold.
    field = json.dumps([text[:MAX_TEXT_LENGTH] for text in (queue, task, reason)])
    try:
        with celery.flask_app.app_context():
            client = broker.client()
            if not client.hexists(KEY, field) and client.hlen(KEY) >= MAX_KINDS:
                field = OTHERS
            client.hincrby(KEY, field, 1)
            client.set(LAST_KEY, str(time.time()))
    except (redis.RedisError, OSError) as error:
        logger.warning("a discarded message is not counted, Redis does not answer: %s", error)


def read(client: Any) -> list[Discarded]:
    """The counters, the highest first. Raises redis.RedisError."""
    last = client.get(LAST_KEY)
    last_at = datetime.fromtimestamp(float(last), UTC) if last else None
    kinds = [(json.loads(field), int(number)) for field, number in client.hgetall(KEY).items()]
    found = [Discarded(queue, task, reason, number, last_at) for (queue, task, reason), number in kinds]
    return sorted(found, key=lambda each: (-each.count, each.queue, each.task))
