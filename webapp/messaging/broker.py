"""The only gateway to the broker, to Celery's control and to Redis. Fails fast: a dead broker never freezes a page."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
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

# After a failure nobody tries again for this long: each of a page's messages would wait for its own time-out.
BREAKER_SECONDS = 5.0
REDIS_TIMEOUT = 1.0


class BrokerAway(Exception):
    """The broker does not answer. Nothing is lost: the row is there, and beat sends it later."""


class _Breaker:
    """Remembers that a server was away a moment ago, in this process."""

    def __init__(self) -> None:
        self.tripped_until = 0.0

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
    """The Redis of `REDIS_URL`, for streams, presence and wake-ups; text in, text out. Connects when it is used."""
    made = current_app.extensions.get("redis")
    if made is None:
        made = connect(current_app.extensions["settings"].redis_url)
        current_app.extensions["redis"] = made
    return made


def connect(url: str, *, timeout: float = REDIS_TIMEOUT) -> redis.Redis:
    """A client that gives up after `timeout` seconds rather than hang, and uses no other installation's database.

    What UTF-8 cannot hold is escaped, both in what is sent and in what another program has written.
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


def tell(what: Callable[[redis.Redis], object]) -> bool:
    """Write to our Redis what is also in the database; False when Redis is away."""

    def announced(redis_: redis.Redis) -> bool:
        what(redis_)
        return True

    return ask_redis(announced) or False


Answer = TypeVar("Answer")


def ask_redis(work: Callable[[redis.Redis], Answer]) -> Answer | None:
    """What `work` gives for our Redis; None when Redis is away, or was a moment ago. Never waits long."""
    # Each of a page's questions would wait for its own time-out.
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
    """Whether Redis and the broker are the same server, so that one is away when the other is."""
    settings: Settings = current_app.extensions["settings"]
    return urlsplit(settings.redis_url).netloc == urlsplit(settings.broker_url).netloc


def revoke(run_id: str | list[str], *, terminate: bool) -> None:
    """Ask all workers to drop messages, and to end their tasks when they run already. Raises BrokerAway."""
    _with_connection(
        lambda connection: celery.control.revoke(run_id, terminate=terminate, signal="SIGTERM", connection=connection)
    )


def queue_depths(names: Iterable[str]) -> dict[str, int | None]:
    """How many messages wait in each queue; None where the broker does not say. Raises BrokerAway."""
    depths: dict[str, int | None] = {}

    def look(connection: Any) -> None:
        for name in names:
            depths[name] = _depth(connection, name)

    _with_connection(look)
    return depths


def _depth(connection: Any, name: str) -> int | None:
    channel = connection.default_channel
    if is_redis(channel):
        try:
            return size(channel, name)
        except redis.ResponseError:
            # Something else has this name.
            return None
    # A channel of its own: RabbitMQ closes the one on which somebody asks for a queue that does not exist.
    try:
        with connection.channel() as own:
            return int(own.queue_declare(name, passive=True).message_count)
    except connection.channel_errors:
        return None


def ping() -> None:
    """Whether the broker answers. Raises BrokerAway with its reason, within a few seconds."""
    _with_connection(lambda connection: connection.default_channel, rest=False)


def _with_connection(work: Callable[[Any], object], *, rest: bool = True) -> None:
    """Do something with a connection of its own; not while the broker was away a moment ago, unless `rest` is False."""
    connection = None
    try:
        if rest:
            breaker.require_closed()
        connection = connect_broker(celery)
        work(connection)
    except BROKER_ERRORS as error:
        # What it refuses says nothing of how it answers others.
        if rest and concerns_connection(error):
            breaker.trip()
        raise BrokerAway(str(error)) from error
    finally:
        if connection is not None:
            drop(connection)


def bound_to(exchange: str, routing_key: str) -> list[str] | None:
    """The queues that an exchange and a routing key lead to; None where the broker does not say. Raises BrokerAway."""
    found: list[list[str] | None] = []
    _with_connection(lambda connection: found.append(bound_queues(connection.default_channel, exchange, routing_key)))
    return found[0]


def serialize_message(task: str, args: list[Any], kwargs: dict[str, Any]) -> tuple[str, str]:
    """The content type and the body of a message of a task, as it would be sent. Raises Unsendable."""
    try:
        made = celery.amqp.as_task_v2("0" * 36, task, args, kwargs)
        content_type, _encoding, body = dumps(made.body, SERIALIZER)
    except Exception as error:
        raise Unsendable(describe_error(error)) from error
    return content_type, body if isinstance(body, str) else body.decode("utf-8", "replace")
