"""A project whose Redis transport has another separator in bindings: its workers answer Beatdesk and its own tools."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import redis as redis_client
from kombu import Exchange, Queue

from tests.adoption.foreign import Shop
from tests.servers import wait_for
from webapp.config import Settings
from webapp.extensions import celery
from webapp.scheduler.foreign import consumers

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("context")]

CONF: dict[str, Any] = {"broker_transport_options": {"sep": ":", "queue_order_strategy": "priority"}}
REPLIES = "_kombu.binding.reply.celery.pidbox"


def test_workers_answer_beatdesk_and_their_own_commands(
    settings: Settings, redis: redis_client.Redis, tmp_path: Path
) -> None:
    shop = Shop(settings.broker_url, tmp_path, **CONF)
    with celery.connection_for_write() as connection:
        # No worker runs yet whose separator could be taken.
        assert consumers.ask(celery, connection) == []
        with shop.worker() as worker:
            answers = wait_for(lambda: consumers.ask(celery, connection, 1), seconds=20)
            assert [answer.queues for answer in answers] == [{"celery"}]
            with shop.client() as client:
                assert len(client.control.ping(timeout=20, limit=1)) == 1
            # kombu also writes bindings again, before they expire.
            replies = Exchange("reply.celery.pidbox", durable=False, delivery_mode="transient")
            channel = connection.default_channel
            Queue("ours", replies, "key", expires=10)(channel).declare()
            channel._refresh_bindings(["ours"])
            assert redis.smembers(REPLIES) == {"key::ours"}
            channel.queue_delete("ours")
            assert redis.smembers(REPLIES) == set()
            # A worker of ours answers on a connection of the pool, also where another program left a binding.
            redis.sadd(REPLIES, "key::theirs", "key\x06\x16\x06\x16left.behind")
            with celery.amqp.producer_pool.acquire() as producer:
                assert producer.channel.get_table("reply.celery.pidbox") == [("key", "", "theirs")]
        assert "Control command error" not in worker.output()
