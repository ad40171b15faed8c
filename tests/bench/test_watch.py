"""The watch of a queue, on a real server with messages as Celery writes them."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import redis as redis_client
from celery import Celery

from bench.beats.processes import TrialError
from bench.beats.watch import Watch


@pytest.fixture
def sender(valkey_url: str) -> Iterator[Celery]:
    app = Celery("sender", broker=valkey_url, set_as_current=False)
    yield app
    app.close()


def send(sender: Celery, name: str) -> str:
    key: str = sender.send_task("bench.noop", args=[name], queue="watched", ignore_result=True).id
    return key


def test_it_records_owner_and_arrival_of_each_message(redis: redis_client.Redis, sender: Celery) -> None:
    client = redis_client.Redis("127.0.0.1", redis.connection_pool.connection_kwargs["port"])
    with client, Watch(client, "watched") as watch:
        sent = []
        for number in range(3):
            before = time.time()
            key = send(sender, f"fire-{number}")
            watch.require(number + 1, time.time() + 30)
            sent.append((f"fire-{number}", key, before, time.time()))
        arrivals = watch.arrivals()
    assert [(arrival.name, arrival.id) for arrival in arrivals] == [(name, key) for name, key, _, _ in sent]
    for arrival, (_, _, before, after) in zip(arrivals, sent, strict=True):
        assert before <= arrival.at <= after


def test_it_gives_up_on_messages_that_never_come(redis: redis_client.Redis) -> None:
    client = redis_client.Redis("127.0.0.1", redis.connection_pool.connection_kwargs["port"])
    with client, Watch(client, "watched") as watch:
        with pytest.raises(TrialError, match="0 messages instead of 1"):
            watch.require(1, time.time() + 0.1)
        assert not watch.wait_for(1, time.time() + 60, alive=lambda: False)
