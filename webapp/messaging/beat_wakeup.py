"""The Redis channel that wakes beat. Its messages carry no data: beat reads from the database what has changed."""

from __future__ import annotations

import redis

CHANNEL = "beatdesk:schedules"


def wake(client: redis.Redis, text: str) -> None:
    """Wake all beats; `text` is the reason, for debugging. Raises redis.RedisError."""
    client.publish(CHANNEL, text)
