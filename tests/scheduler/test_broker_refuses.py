"""A broker that refuses a message is not down: that run fails, and all others are sent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import redis as redis_client

from tests.rabbitmq import rabbitmq, url
from tests.scheduler.beats import Rig
from tests.scheduler.unsent import check, queued
from tests.servers import valkey
from webapp.extensions import celery
from webapp.messaging.celery_config import execution

MEGABYTE = 1024 * 1024


def test_a_message_that_is_larger_than_redis_takes(beats: Rig, tmp_path: Path) -> None:
    """It says so where it has read the whole message; else it closes the connection, as when it goes away."""
    with valkey(tmp_path) as small:
        with redis_client.Redis.from_url(small) as client:
            client.config_set("proto-max-bulk-len", MEGABYTE)
        celery.conf.update(broker_url=small)
        good = [queued(beats, age=30), queued(beats), queued(beats, attempt=1)]
        bad = [queued(beats, age=20, args=json.dumps(["x" * size])) for size in (MEGABYTE, 8 * MEGABYTE)]
        check(beats, bad, good)


@pytest.mark.slow
def test_what_rabbitmq_refuses(beats: Rig, tmp_path: Path) -> None:
    """It closes the channel, and the connection goes on."""
    options = [
        {"exchange": "nowhere", "routing_key": "x"},
        {"exchange": "amq.rabbitmq.trace", "routing_key": "x"},
        {"exchange": "x" * 300, "routing_key": "x"},
    ]
    bad = [queued(beats, age=20, options=json.dumps(each)) for each in options]
    bad.append(queued(beats, age=20, priority=300))
    good = [queued(beats, age=30), queued(beats, age=15), queued(beats)]
    with rabbitmq(tmp_path) as port:
        celery.conf.update(broker_url=url(port), **execution(url(port)))
        errors = check(beats, bad, good)
    assert "404" in errors[0]
    assert "cannot be used as an exchange" in errors[1]
