"""The only gateway to the broker, to Celery's control and to Redis. Fails fast: a dead broker never freezes a page."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

import redis
from flask import current_app
from kombu.serialization import dumps

from webapp.config import Settings
from webapp.extensions import celery
from webapp.messaging import installation
from webapp.messaging.celery_config import SERIALIZER
from webapp.messaging.producers import (
    BROKER_ERRORS,
    Unsendable,
    concerns_connection,
    describe_error,
    drop,
)
from webapp.messaging.producers import connect as connect_broker
from webapp.messaging.redis_transport import bound_queues, is_redis, size

logger = logging.getLogger(__name__)

# No further attempts for this long after a failure: each message of a page would wait for a time-out of its own.
BREAKER_SECONDS = 5.0
REDIS_TIMEOUT = 1.0


class BrokerAway(Exception):
    """The broker does not answer. Nothing is lost: beat sends the runs later, from their rows."""


@dataclass
class _Breaker:
    """A circuit breaker, in this process: it trips for a while after a server did not answer."""

    tripped_until: float = 0.0

    @property
    def tripped(self) -> bool:
        return time.monotonic() < self.tripped_until

    def require_closed(self) -> None:
        if self.tripped:
            raise BrokerAway("the broker did not answer a moment ago")

    def trip(self) -> None:
        self.tripped_until = time.monotonic() + BREAKER_SECONDS

    def reset(self) -> None:
        self.tripped_until = 0.0


breaker = _Breaker()


def client() -> redis.Redis:
    """A client for the Redis of `REDIS_URL`, which connects when it is used. Keys and values are text."""
    made = current_app.extensions.get("redis")
    if made is None:
        made = connect(current_app.extensions["settings"].redis_url)
        current_app.extensions["redis"] = made
    return made


def connect(url: str, *, timeout: float = REDIS_TIMEOUT) -> redis.Redis:
    """A client that gives up after `timeout` seconds, and refuses a database of another installation.

    Characters that UTF-8 cannot encode are escaped, in both directions.
    """
    return redis.Redis.from_url(
        url,
        decode_responses=True,
        encoding_errors="backslashreplace",
        socket_connect_timeout=timeout,
        socket_timeout=timeout,
        health_check_interval=10,
        redis_connect_func=installation.on_connect,
    )


Answer = TypeVar("Answer")


def try_redis(work: Callable[[redis.Redis], Answer]) -> Answer | None:
    """The result of `work` with our Redis; None if Redis does not answer, or did not a moment ago. Never waits long."""
    # Otherwise each call on a page would wait for a time-out of its own.
    redis_breaker: _Breaker = current_app.extensions.setdefault("redis_breaker", _Breaker())
    if redis_breaker.tripped or (breaker.tripped and _share_a_server()):
        return None
    try:
        return work(client())
    except (redis.RedisError, OSError) as error:
        redis_breaker.trip()
        logger.info("Redis does not answer: %s", error)
        return None


def _share_a_server() -> bool:
    """Whether Redis and the broker are one server, so that both are away at the same time."""
    settings: Settings = current_app.extensions["settings"]
    return urlsplit(settings.redis_url).netloc == urlsplit(settings.broker_url).netloc


def revoke(run_id: str | list[str], *, terminate: bool) -> None:
    """Ask all workers to discard messages of runs, and to terminate started ones if so. Raises BrokerAway."""
    _with_connection(
        lambda connection: celery.control.revoke(run_id, terminate=terminate, signal="SIGTERM", connection=connection)
    )


def queue_depths(names: Iterable[str]) -> dict[str, int | None]:
    """The number of messages in each queue; None if the broker does not report it. Raises BrokerAway."""
    return _with_connection(lambda connection: {name: _depth(connection, name) for name in names})


def _depth(connection: Any, name: str) -> int | None:
    channel = connection.default_channel
    if is_redis(channel):
        try:
            return size(channel, name)
        except redis.ResponseError:
            # The key of that name is not a list.
            return None
    # On a channel of its own, which RabbitMQ closes if the queue does not exist.
    try:
        with connection.channel() as own:
            return int(own.queue_declare(name, passive=True).message_count)
    except connection.channel_errors:
        return None


def ping() -> None:
    """Check that the broker answers, within a few seconds. Raises BrokerAway with the reason."""
    _with_connection(lambda connection: connection.default_channel, rest=False)


def _with_connection(work: Callable[[Any], Answer], *, rest: bool = True) -> Answer:
    """The result of `work` with a new connection; with `rest`, not while the breaker is open. Raises BrokerAway."""
    connection = None
    try:
        if rest:
            breaker.require_closed()
        connection = connect_broker(celery)
        return work(connection)
    except BROKER_ERRORS as error:
        # A refused command says nothing about the connection.
        if rest and concerns_connection(error):
            breaker.trip()
        raise BrokerAway(str(error)) from error
    finally:
        if connection is not None:
            drop(connection)


def bound_to(exchange: str, routing_key: str) -> list[str] | None:
    """The queues of an exchange and a routing key; None if the broker does not report them. Raises BrokerAway."""
    return _with_connection(lambda connection: bound_queues(connection.default_channel, exchange, routing_key))


def serialize_message(task: str, args: list[Any], kwargs: dict[str, Any]) -> tuple[str, str]:
    """The content type and the body that a message of a task would have. Raises Unsendable."""
    try:
        made = celery.amqp.as_task_v2("0" * 36, task, args, kwargs)
        content_type, _encoding, body = dumps(made.body, SERIALIZER)
    except Exception as error:
        raise Unsendable(describe_error(error)) from error
    return content_type, body if isinstance(body, str) else body.decode("utf-8", "replace")
