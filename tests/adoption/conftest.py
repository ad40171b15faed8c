"""Brokers for the tests of this folder: the run's Valkey, and one RabbitMQ for all of them."""

from __future__ import annotations

from collections.abc import Iterator

import kombu
import pytest
import redis as redis_client

from tests.rabbitmq import rabbitmq, url
from webapp.messaging.celery_config import DEFAULT_QUEUE
from webapp.recorder.event_reader import QUEUE as EVENT_QUEUE

# What tests of this folder may leave behind in RabbitMQ.
QUEUES = ("celery", DEFAULT_QUEUE, "shop", "orders", "mail", "nowhere", EVENT_QUEUE)


@pytest.fixture(scope="session")
def rabbitmq_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A RabbitMQ server for the whole folder: it takes seconds to start."""
    with rabbitmq(tmp_path_factory.mktemp("rabbitmq")) as port:
        yield url(port)


@pytest.fixture(params=["redis", "rabbitmq"])
def each_broker(request: pytest.FixtureRequest, redis: redis_client.Redis, valkey_url: str) -> str:
    """A broker without messages and queues; the test runs once with Redis and once with RabbitMQ."""
    if request.param == "redis":
        return valkey_url
    return emptied(request.getfixturevalue("rabbitmq_url"))


def emptied(address: str) -> str:
    """The address of a RabbitMQ without messages and queues."""
    with kombu.Connection(address) as connection, connection.channel() as channel:
        for name in QUEUES:
            channel.queue_delete(name)
    return address
