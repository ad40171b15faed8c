"""The only gateway to the broker, to Celery's control and to Redis. Fails fast: a dead broker never freezes a page."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import urlsplit

import redis
from flask import current_app
from kombu.serialization import dumps

from webapp.config import Settings
from webapp.extensions import celery
from webapp.messaging import installation
from webapp.messaging.celery_config import SERIALIZER
from webapp.messaging.delivery import bound_queues
from webapp.messaging.producers import (
    BROKER_ERRORS,
    NotNow,
    Producers,
    Unsendable,
    concerns_connection,
    drop,
    is_refused,
    probe,
    reason,
)
from webapp.messaging.producers import connect as connect_broker
from webapp.run_store import changes, message
from webapp.run_store.models import Run
from webapp.run_store.statements import Sendable

logger = logging.getLogger(__name__)

# After a failure nobody tries again for this long: each of a page's messages would wait for its own time-out.
REST_AFTER_FAILURE = 5.0
REDIS_TIMEOUT = 1.0


class BrokerAway(Exception):
    """The broker does not answer. Nothing is lost: the row is there, and beat sends it later."""


class _Breaker:
    """Remembers that a server was away a moment ago, in this process."""

    def __init__(self) -> None:
        self.closed_until = 0.0

    @property
    def tripped(self) -> bool:
        return time.monotonic() < self.closed_until

    def check(self) -> None:
        if self.tripped:
            raise BrokerAway("the broker did not answer a moment ago")

    def trip(self) -> None:
        self.closed_until = time.monotonic() + REST_AFTER_FAILURE

    def reset(self) -> None:
        self.closed_until = 0.0


breaker = _Breaker()


class Sent(list[str]):
    """The ids of the runs whose messages the broker took, in order; in `unsendable` by id why others cannot be sent."""

    def __init__(self) -> None:
        super().__init__()
        self.unsendable: dict[str, str] = {}


def publish(runs: Iterable[Run]) -> Sent:
    """Publish the messages of queued runs.

    Stops where the broker turns out to be away. Never raises: what was not sent keeps `sent_at` empty.
    """
    waiting = list(runs)
    sent = Sent()

    def send_rest(producer: Any) -> None:
        while waiting:
            run = waiting[0]
            try:
                message.send(celery, producer, run)
            except Unsendable as error:
                logger.warning("run %s cannot be sent: %s", run.id, error)
                sent.unsendable[run.id] = str(error)
            except NotNow as error:
                logger.info("run %s is sent later: %s", run.id, error)
            else:
                sent.append(run.id)
            del waiting[0]

    try:
        breaker.check()
        _producers().use(send_rest)
        breaker.reset()
    except BrokerAway as error:
        logger.info("not sent now: %s", error)
    except BROKER_ERRORS as error:
        breaker.trip()
        logger.warning("the broker does not answer: %s", error)
    return sent


def publish_once(runs: Sequence[Sendable], note: Callable[[], Collection[str]]) -> tuple[list[str], dict[str, str]]:
    """Publish messages of runs that nobody claims: each at most once, whatever breaks meanwhile.

    `note` is called once the broker has answered, right before the first message: it notes that they are sent, commits,
    and gives the ids of those that may be. What is in doubt counts as sent. Gives the ids of those that were noted and
    surely not published, and why others cannot be sent. Never raises what a broker does.
    """
    untouched: list[str] = []
    unsendable: dict[str, str] = {}

    def send_noted(producer: Any) -> None:
        probe(producer)
        noted = note()
        untouched.extend(run.id for run in runs if run.id in noted)
        for run in [run for run in runs if run.id in noted]:
            try:
                message.send(celery, producer, run)
            except Unsendable as error:
                logger.warning("run %s cannot be sent: %s", run.id, error)
                unsendable[run.id] = str(error)
            except NotNow as error:
                logger.info("run %s is sent later: %s", run.id, error)
                continue
            except BROKER_ERRORS as error:
                # Not raised: nothing may be tried again on another connection.
                if not is_refused(error):
                    untouched.remove(run.id)
                breaker.trip()
                logger.warning("the broker does not answer: %s", error)
                return
            untouched.remove(run.id)

    try:
        breaker.check()
        _producers().use(send_noted)
    except BrokerAway as error:
        logger.info("not sent now: %s", error)
    except BROKER_ERRORS as error:
        breaker.trip()
        logger.warning("the broker does not answer: %s", error)
    return untouched, unsendable


def queue_of_run(run: message.Addressed) -> str | None:
    """The queue that a run's message goes to, None where that is not known. Asks no server."""
    try:
        return message.queue_of(celery, run)
    except Exception:  # noqa: BLE001  # a router of a project's own; sending says what is wrong with it
        return None


def _producers() -> Producers:
    made = current_app.extensions.get("producers")
    if made is None:
        made = Producers(celery)
        current_app.extensions["producers"] = made
    return made


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


def announce(channel: str, text: str) -> bool:
    """Publish to those who listen now; False when Redis is away. Everything announced is also in the database."""
    return _announce(lambda redis_: redis_.publish(channel, text))


def tell_pages(run_ids: Collection[str]) -> bool:
    """Tell live pages which runs have changed, after the commit; False when Redis is away: they look by themselves."""
    return _announce(lambda redis_: changes.append(redis_, run_ids))


def _announce(tell: Callable[[redis.Redis], object]) -> bool:
    def announced(redis_: redis.Redis) -> bool:
        tell(redis_)
        return True

    return ask_redis(announced) or False


Answer = TypeVar("Answer")


def ask_redis(work: Callable[[redis.Redis], Answer]) -> Answer | None:
    """What `work` gives for our Redis; None when Redis is away, or was a moment ago. Never waits long."""
    # Each of a page's questions would wait for its own time-out.
    redis_breaker: _Breaker = current_app.extensions.setdefault("redis_breaker", _Breaker())
    if redis_breaker.tripped or (breaker.tripped and _one_server()):
        return None
    try:
        return work(client())
    except (redis.RedisError, OSError) as error:
        redis_breaker.trip()
        logger.info("Redis does not answer: %s", error)
        return None


def _one_server() -> bool:
    """Whether Redis and the broker are the same server, so that one is away when the other is."""
    settings: Settings = current_app.extensions["settings"]
    return urlsplit(settings.redis_url).netloc == urlsplit(settings.broker_url).netloc


def revoke(run_id: str | list[str], *, terminate: bool) -> None:
    """Ask all workers to drop messages, and to end their tasks when they run already. Raises BrokerAway."""
    _ask(lambda connection: celery.control.revoke(run_id, terminate=terminate, signal="SIGTERM", connection=connection))


def queue_depths(names: Iterable[str]) -> dict[str, int | None]:
    """How many messages wait in each queue; None where the broker does not say. Raises BrokerAway."""
    depths: dict[str, int | None] = {}

    def look(connection: Any) -> None:
        for name in names:
            depths[name] = _depth(connection, name)

    _ask(look)
    return depths


def _depth(connection: Any, name: str) -> int | None:
    channel = connection.default_channel
    if hasattr(channel, "_size"):
        # Redis: a list for each priority; `_size` adds them up. A queue that nobody used yet has no list.
        try:
            return int(channel._size(name))  # noqa: SLF001  # kombu has no public name for it
        except redis.ResponseError:
            # Something else has this name.
            return None
    # A channel of its own: RabbitMQ closes the one on which somebody asks for a queue that does not exist.
    try:
        with connection.channel() as own:
            return int(own.queue_declare(name, passive=True).message_count)
    except connection.channel_errors:
        return None


def check() -> None:
    """Whether the broker answers. Raises BrokerAway with its reason, within a few seconds."""
    _ask(lambda connection: connection.default_channel, rest=False)


def _ask(work: Callable[[Any], object], *, rest: bool = True) -> None:
    """Do something with a connection of its own; not while the broker was away a moment ago, unless `rest` is False."""
    connection = None
    try:
        if rest:
            breaker.check()
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


def destination(
    task: str, args: list[Any], kwargs: dict[str, Any], queue: str | None, options: Mapping[str, Any] | None = None
) -> message.Destination:
    """Where a message of a task would go; `options` may name an exchange and a routing key.

    Sends nothing and asks no server. Raises Unsendable when a router raises.
    """
    try:
        return message.destination(celery, task, {**(options or {}), "queue": queue}, args, kwargs)
    except Exception as error:
        raise Unsendable(reason(error)) from error


def destination_of(
    task: str, queue: str | None, exchange: str | None = None, routing_key: str | None = None
) -> message.Destination:
    """Where the messages of a task go, as far as it can be said without their arguments: a router may need them."""
    try:
        return destination(task, [], {}, queue, {"exchange": exchange, "routing_key": routing_key})
    except Unsendable:
        if exchange and routing_key:
            return message.Destination(None, exchange, routing_key)
        name = queue or str(celery.conf.task_default_queue)
        return message.Destination(name, "", name)


def destination_of_run(run: Run) -> message.Destination:
    """Where the message of a run goes, as far as it can be said without its arguments."""
    try:
        return message.destination_of(celery, run)
    except Exception:  # noqa: BLE001  # a router of a project's own; sending says what is wrong with it
        return destination_of(run.task, run.queue)


def led_to(aim: message.Destination) -> list[str] | None:
    """The queues that a message goes to; None where the broker does not say. Raises BrokerAway."""
    if aim.queue is not None:
        return [aim.queue]
    found: list[list[str] | None] = []
    _ask(lambda connection: found.append(bound_queues(connection.default_channel, aim.exchange, aim.routing_key)))
    return found[0]


def serialised(task: str, args: list[Any], kwargs: dict[str, Any]) -> tuple[str, str]:
    """The content type and the body of a message of a task, as it would be sent. Raises Unsendable."""
    try:
        made = celery.amqp.as_task_v2("0" * 36, task, args, kwargs)
        content_type, _encoding, body = dumps(made.body, SERIALIZER)
    except Exception as error:
        raise Unsendable(reason(error)) from error
    return content_type, body if isinstance(body, str) else body.decode("utf-8", "replace")
