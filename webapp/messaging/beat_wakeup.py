"""The Redis channel on which beat is woken. What is said there is only "look": the database says what changed."""

from __future__ import annotations

import redis

CHANNEL = "beatdesk:schedules"


def wake(client: redis.Redis, text: str) -> None:
    """Wake the beats that listen; `text` says why, for people who look on. Raises redis.RedisError."""
    client.publish(CHANNEL, text)
