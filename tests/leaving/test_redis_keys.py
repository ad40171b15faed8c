"""Which keys `flask leave` takes for Beatdesk's own."""

from __future__ import annotations

import redis as redis_client

from beatdesk.execution.ids import new_id
from webapp.leaving import redis_keys


def test_keys_behind_a_projects_prefix_go_and_no_others(redis: redis_client.Redis) -> None:
    prefix, result = "shop[1]:", f"celery-task-meta-{new_id()}"
    own = {"beatdesk:runs:x", f"{prefix}beatdesk:broker-mark", f"{prefix}beatdesk:installation", f"{prefix}{result}"}
    theirs = {"shop1:beatdesk:mark", f"{prefix}celery", "other:beatdesk:x", f"{prefix}celery-task-meta-nightly"}
    redis.mset(dict.fromkeys(own | theirs, "1"))
    before = ["", prefix]
    assert sum(redis_keys.counted(redis, before).values()) == len(own)
    redis_keys.remove(redis, before)
    assert set(redis.keys("*")) == theirs
