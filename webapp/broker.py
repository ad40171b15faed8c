"""The only gateway to the broker, to Celery's control and to Redis. Fails fast: a dead broker never freezes a page."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable, Mapping
from typing import Any

import redis
from flask import current_app
from kombu.exceptions import OperationalError
from kombu.serialization import dumps

from webapp.extensions import celery
from webapp.runs.models import Run
from webapp.secrecy.masking import call_of
from webapp.secrecy.sealing import Unopenable

logger = logging.getLogger(__name__)

# After a failure nobody tries again for this long: each of a page's messages would wait for its own time-out.
REST_AFTER_FAILURE = 5.0
REDIS_TIMEOUT = 1.0


class BrokerAway(Exception):
    """The broker does not answer. Nothing is lost: the row is there, and beat sends it later."""


class _Breaker:
    """Remembers that the broker was away a moment ago, in this process."""

    def __init__(self) -> None:
        self.closed_until = 0.0

    def check(self) -> None:
        if time.monotonic() < self.closed_until:
            raise BrokerAway("the broker did not answer a moment ago")

    def trip(self) -> None:
        self.closed_until = time.monotonic() + REST_AFTER_FAILURE

    def reset(self) -> None:
        self.closed_until = 0.0


breaker = _Breaker()


def publish(runs: Iterable[Run]) -> list[str]:
    """Publish the messages of queued runs; gives the ids of those that the broker took, in order.

    Stops at the first that it does not take. Never raises: what was not sent keeps `sent_at` empty.
    """
    sent: list[str] = []
    try:
        breaker.check()
        with celery.producer_or_acquire() as producer:
            for run in runs:
                try:
                    call = call_of(run)
                except Unopenable as error:
                    # Left to the leading beat, which says so at the run.
                    logger.warning("run %s cannot be sent: %s", run.id, error)
                    continue
                _publish(producer, run, *call)
                sent.append(run.id)
        breaker.reset()
    except BrokerAway as error:
        logger.info("not sent now: %s", error)
    except (OperationalError, OSError) as error:
        breaker.trip()
        logger.warning("the broker does not answer: %s", error)
    return sent


def _publish(producer: Any, run: Run, args: list[Any], kwargs: dict[str, Any]) -> None:
    """One message, as `apply_async` would make it, but without subscribing this process to its result."""
    more: dict[str, Any] = json.loads(run.options or "{}")
    options = {name: value for name, value in more.items() if name in ("exchange", "routing_key", "headers")}
    if run.queue:
        options["queue"] = run.queue
    if run.priority is not None:
        options["priority"] = run.priority
    route = celery.amqp.router.route(options, run.task, args, kwargs)
    message = celery.amqp.as_task_v2(
        run.id,
        run.task,
        args,
        kwargs,
        expires=run.expires_at,
        root_id=run.root_id or run.id,
        parent_id=run.parent_id,
        argsrepr=run.args,
        kwargsrepr=run.kwargs,
    )
    celery.amqp.send_task_message(producer, run.task, message, **route)


def client() -> redis.Redis:
    """The Redis of `REDIS_URL`, for streams, presence and wake-ups; text in, text out. Connects when it is used."""
    made = current_app.extensions.get("redis")
    if made is None:
        made = connect(current_app.extensions["settings"].redis_url)
        current_app.extensions["redis"] = made
    return made


def connect(url: str, *, timeout: float = REDIS_TIMEOUT) -> redis.Redis:
    """A client that gives up after `timeout` seconds rather than hang."""
    return redis.Redis.from_url(
        url, decode_responses=True, socket_connect_timeout=timeout, socket_timeout=timeout, health_check_interval=10
    )


def announce(channel: str, text: str) -> bool:
    """Publish to those who listen now; False when Redis is away. Everything announced is also in the database."""
    try:
        client().publish(channel, text)
    except (redis.RedisError, OSError) as error:
        logger.info("nobody could be told on %s: %s", channel, error)
        return False
    return True


def revoke(run_id: str | list[str], *, terminate: bool) -> None:
    """Ask all workers to drop messages, and to end their tasks when they run already. Raises BrokerAway."""
    try:
        breaker.check()
        celery.control.revoke(run_id, terminate=terminate, signal="SIGTERM")
    except (OperationalError, OSError) as error:
        breaker.trip()
        raise BrokerAway(str(error)) from error


def queue_depths(names: Iterable[str]) -> dict[str, int | None]:
    """How many messages wait in each queue; None where the broker does not say. Raises BrokerAway."""
    depths: dict[str, int | None] = {}
    try:
        breaker.check()
        with celery.connection_for_read() as connection:
            connection.ensure_connection(max_retries=1, timeout=2)
            channel = connection.default_channel
            for name in names:
                depths[name] = _depth(channel, name)
    except (OperationalError, OSError) as error:
        breaker.trip()
        raise BrokerAway(str(error)) from error
    return depths


def _depth(channel: Any, name: str) -> int | None:
    if hasattr(channel, "_size"):
        # Redis: a list for each priority; `_size` adds them up. A queue that nobody used yet has no list.
        return int(channel._size(name))  # noqa: SLF001  # kombu has no public name for it
    try:
        return int(channel.queue_declare(name, passive=True).message_count)
    except channel.connection.channel_errors:
        return None


def check() -> None:
    """Whether the broker answers. Raises BrokerAway with its reason, within a few seconds."""
    try:
        with celery.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, timeout=2)
    except (OperationalError, OSError) as error:
        raise BrokerAway(str(error)) from error


def destination(
    task: str, args: list[Any], kwargs: dict[str, Any], queue: str | None, options: Mapping[str, Any] | None = None
) -> tuple[str, str, str]:
    """Where a message of a task would go: queue, exchange, routing key. Sends nothing and asks no server.

    `options` may name an exchange and a routing key; which queues those lead to only the broker knows, and the routing
    key is taken for the queue's name, as it is in Celery's own exchanges.
    """
    asked = {name: value for name, value in (options or {}).items() if name in ("exchange", "routing_key")}
    route = celery.amqp.router.route(asked | ({"queue": queue} if queue else {}), task, args, kwargs)
    chosen = route.get("queue")
    default = asked.get("routing_key") if "exchange" in asked else None
    name = getattr(chosen, "name", chosen) or default or celery.conf.task_default_queue
    exchange = route.get("exchange") or getattr(getattr(chosen, "exchange", None), "name", "")
    key = route.get("routing_key") or getattr(chosen, "routing_key", None) or name
    return str(name), str(exchange or celery.conf.task_default_exchange or ""), str(key)


def serialised(task: str, args: list[Any], kwargs: dict[str, Any]) -> tuple[str, str]:
    """The content type and the body of a message of a task, as it would be sent."""
    message = celery.amqp.as_task_v2("0" * 36, task, args, kwargs)
    content_type, _encoding, body = dumps(message.body, celery.conf.task_serializer)
    return content_type, body if isinstance(body, str) else body.decode("utf-8", "replace")
