"""Connections on which messages are sent, and what an error on them is about: the connection, or one message.

None of them waits long for a broker that does not answer. Celery's own pool connects with the options of consumers,
which must be patient: a page that sent on one of those would hang for most of a minute on a broker that accepts and
says nothing.

A broker that is away concerns every message; anything else concerns one: a router that raises, arguments that cannot be
encoded, an exchange that does not exist. Only the transport knows of the connection, so only what it raises while it
has the message in hand can be a `ConnectionLost`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import kombu
from amqp.exceptions import AMQPError, FrameSyntaxError, MessageNacked
from amqp.exceptions import ChannelError as AMQPChannelError
from celery import Celery
from kombu.exceptions import OperationalError
from kombu.transport.redis import Channel as RedisChannel
from redis.exceptions import (
    ClusterDownError,
    DataError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import TimeoutError as RedisTimeoutError

from webapp.messaging import installation

# Seconds that a broker has for each answer.
ANSWER_TIMEOUT = 2.0
# Idle connections that are kept.
MAX_IDLE = 10
# Characters of an error's text.
MAX_ERROR_LENGTH = 500
# Whatever a broker that is away, or does not let us in, makes of a call.
BROKER_ERRORS = (OperationalError, OSError, AMQPError, RedisError)
# With these Redis says how it is, whatever the command was; any other refusal is about the command. redis-py has
# classes for some and leaves the code of the others in the text.
_REDIS_CONDITIONS = (OutOfMemoryError, ReadOnlyError, ClusterDownError, TryAgainError)
_REDIS_CODES = frozenset({"BUSY", "MISCONF", "NOAUTH", "NOREPLICAS", "UNKILLABLE"})


class ConnectionLost(OperationalError):
    """The broker is away, or takes nothing from anybody. An OperationalError, which Celery passes on as it is."""


class NotNow(Exception):
    """The broker is there and did not take this message now, because its queue is full. It is tried again."""


class Unsendable(Exception):
    """A message that cannot be made, or that the broker refuses. All others can be sent. Its text is a reason."""


def concerns_connection(error: BaseException) -> bool:
    """Whether what a transport raised says that the broker is away or takes nothing, rather than what one call did."""
    if isinstance(error, (AMQPChannelError, FrameSyntaxError, DataError, MessageNacked)):
        return False
    if isinstance(error, NoPermissionError):
        # Not this command at all, or not this key.
        return "to run the" in str(error)
    if isinstance(error, ResponseError):
        return isinstance(error, _REDIS_CONDITIONS) or str(error).partition(" ")[0] in _REDIS_CODES
    return isinstance(error, BROKER_ERRORS)


def describe_error(error: BaseException) -> str:
    """An error in one line that any database can keep, such as "KeyError: 'nosuch'". Never raises."""
    try:
        text = " ".join(str(error).split()).replace("\x00", "\\x00").encode(errors="backslashreplace").decode()
    except Exception:  # noqa: BLE001  # somebody's own exception may not even have a text
        text = ""
    text = text if len(text) <= MAX_ERROR_LENGTH else f"{text[: MAX_ERROR_LENGTH - 1]}…"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


class Producer(kombu.Producer):
    """Kombu's producer, which says of an error whether it is about the connection.

    `published` counts the messages that the broker has taken.
    """

    published = 0

    def publish(self, *args: Any, **kwargs: Any) -> Any:
        """As kombu's. Raises ConnectionLost, NotNow, Unsendable, or what making the message raised."""
        result = super().publish(*args, **kwargs)
        self.published += 1
        return result

    def _publish(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super()._publish(*args, **kwargs)
        except Exception as error:
            if concerns_connection(error):
                raise ConnectionLost(describe_error(error)) from error
            self._renew_channel()
            if isinstance(error, MessageNacked):
                raise NotNow("its queue accepts no more messages at the moment") from error
            raise Unsendable(f"its message cannot be published: {describe_error(error)}") from error

    def _renew_channel(self) -> None:
        """RabbitMQ closes the channel on which it refuses something; the connection goes on."""
        if getattr(self.channel, "is_open", True):
            return
        connection = self.connection
        try:
            channel = connection.channel()
        except BROKER_ERRORS as error:
            raise ConnectionLost(describe_error(error)) from error
        connection.revive(channel)
        self.revive(channel)


def connect(app: Celery) -> Any:
    """A connection for sending that gives up soon, to a broker that is ours. Raises one of BROKER_ERRORS."""
    connection = app.connection_for_write(transport_options=app.conf.broker_sending_options)
    # kombu tries twice and rests between the two, unless it is told not to, and that the first took long enough.
    connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0, timeout=ANSWER_TIMEOUT / 2)
    sock = getattr(getattr(connection.connection, "transport", None), "sock", None)
    if sock is not None:
        # AMQP: each answer is waited for on this socket. (Redis has its time-outs among the options.)
        sock.settimeout(ANSWER_TIMEOUT)
    try:
        installation.mark_broker(connection)
    except BaseException:
        drop(connection)
        raise
    return connection


def probe(producer: Any) -> None:
    """Have the broker answer on the connection that the next message goes by. Raises one of BROKER_ERRORS.

    A connection that ended while it was idle takes a message and loses it: nobody could say whether the broker has it.
    """
    channel = producer.channel
    if isinstance(channel, RedisChannel):
        # By the connections that messages go by: the channel's own may be waiting for messages.
        with channel.conn_or_acquire() as client:
            client.ping()
    elif hasattr(channel, "confirm_select"):
        channel.confirm_select()


def drop(connection: Any) -> None:
    """Forget a connection without a word to the broker, which may not listen."""
    with suppress(Exception):
        connection.collect()


def open_producer(connection: Any) -> Producer:
    """A producer on a connection of `connect`, its channel open. Raises one of BROKER_ERRORS."""
    producer = Producer(connection, auto_declare=False)
    # Otherwise the first message opens it, and is blamed when that fails.
    producer.revive(connection.default_channel)
    return producer


class Producers:
    """Idle connections of one process, each with its producer. Used by many threads or greenlets at a time."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        # Appending and popping are atomic.
        self._idle: deque[Any] = deque()

    def use(self, work: Callable[[Any], None]) -> None:
        """Call `work` with a producer; if its connection turns out stale, once more with a new one.

        So `work` goes on where it stopped. Raises one of BROKER_ERRORS; a broker that does not answer is asked once.
        """
        stale = False
        with suppress(IndexError):
            producer = self._idle.pop()
            stale = not self._try(work, producer)
            if not stale:
                return
        if stale:
            # The others have the same age.
            self.clear()
        self._try(work, self._new(), last=True)

    def _new(self) -> Any:
        return open_producer(connect(self._app))

    def _try(self, work: Callable[[Any], None], producer: Any, *, last: bool = False) -> bool:
        connection = producer.connection
        try:
            work(producer)
        except BaseException as error:
            drop(connection)
            if last or not _is_stale(error):
                raise
            return False
        if len(self._idle) < MAX_IDLE:
            self._idle.append(producer)
        else:
            drop(connection)
        return True

    def clear(self) -> None:
        """Drop the idle connections."""
        with suppress(IndexError):
            while True:
                drop(self._idle.pop().connection)


def is_refused(error: BaseException) -> bool:
    """Whether the connection was refused, so that nothing was written on it, rather than that nobody can say.

    Sending tries no connection twice.
    """
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, ConnectionRefusedError):
            return True
        found = found.__cause__ or found.__context__
    return False


def timed_out(error: BaseException) -> bool:
    """Whether the broker did not answer in time, rather than that the connection had ended."""
    return isinstance(_cause(error), (TimeoutError, RedisTimeoutError))


def _is_stale(error: BaseException) -> bool:
    """Whether a connection had ended before it was used, rather than that the broker does not answer."""
    return isinstance(_cause(error), BROKER_ERRORS) and not timed_out(error)


def _cause(error: BaseException) -> BaseException:
    return error.__cause__ if isinstance(error, OperationalError) and error.__cause__ is not None else error
