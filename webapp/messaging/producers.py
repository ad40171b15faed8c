"""Connections for sending messages, and the classification of errors: of the connection, or of one message.

No connection waits long for a broker that does not answer. Celery's own pool uses the options of consumers, which have
long time-outs: on one of those, a page would hang for most of a minute on a broker that accepts and does not answer.

A broker that is away concerns every message; any other error concerns one: a router that raises, arguments that cannot
be encoded, an exchange that does not exist. Only the transport knows about the connection, so only errors that it
raises while it publishes can become `ConnectionLost`.
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

# Seconds to wait for each answer of the broker.
ANSWER_TIMEOUT = 2.0
# How many idle connections are kept.
MAX_IDLE = 10
# Characters of an error's text.
MAX_ERROR_LENGTH = 500
# The errors of a call to a broker that is away, or refuses the connection.
BROKER_ERRORS = (OperationalError, OSError, AMQPError, RedisError)
# Errors by which Redis reports its own state; any other refusal is about the command. redis-py has classes for some,
# and leaves the codes of the others in the text.
_REDIS_CONDITIONS = (OutOfMemoryError, ReadOnlyError, ClusterDownError, TryAgainError)
_REDIS_CODES = frozenset({"BUSY", "MISCONF", "NOAUTH", "NOREPLICAS", "UNKILLABLE"})


class ConnectionLost(OperationalError):
    """The broker is away, or takes no messages at all. An OperationalError, which Celery passes on unchanged."""


class NotNow(Exception):
    """The broker did not take this message because its queue is full. It is tried again later."""


class Unsendable(Exception):
    """This message cannot be made, or the broker refuses it; other messages can be sent. The text is the reason."""


def concerns_connection(error: BaseException) -> bool:
    """Whether a transport's error means that the broker is away or takes no messages, not just that a call failed."""
    if isinstance(error, (AMQPChannelError, FrameSyntaxError, DataError, MessageNacked)):
        return False
    if isinstance(error, NoPermissionError):
        # The command is forbidden, rather than the key.
        return "to run the" in str(error)
    if isinstance(error, ResponseError):
        return isinstance(error, _REDIS_CONDITIONS) or str(error).partition(" ")[0] in _REDIS_CODES
    return isinstance(error, BROKER_ERRORS)


def describe_error(error: BaseException) -> str:
    """An error in one line that every database can store, such as "KeyError: 'nosuch'". Never raises."""
    try:
        text = " ".join(str(error).split()).replace("\x00", "\\x00").encode(errors="backslashreplace").decode()
    except Exception:  # noqa: BLE001  # the exceptions of a project may fail in `__str__`
        text = ""
    text = text if len(text) <= MAX_ERROR_LENGTH else f"{text[: MAX_ERROR_LENGTH - 1]}…"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


class Producer(kombu.Producer):
    """Kombu's producer, with errors classified.

    `published` is the number of messages that the broker has taken.
    """

    published = 0

    def publish(self, *args: Any, **kwargs: Any) -> Any:
        """As kombu's. Raises ConnectionLost, NotNow, Unsendable, or an error of making the message."""
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
        """Open a new channel in place of one that RabbitMQ closed, as it does after each refusal."""
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
    """A connection for sending, with short time-outs, to a broker of this installation. Raises one of BROKER_ERRORS."""
    connection = app.connection_for_write(transport_options=app.conf.broker_sending_options)
    # By default kombu tries twice, with a pause between; here without a pause, and not again after a slow attempt.
    connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0, timeout=ANSWER_TIMEOUT / 2)
    sock = getattr(getattr(connection.connection, "transport", None), "sock", None)
    if sock is not None:
        # AMQP has no option for it. (Redis has its time-outs among the options.)
        sock.settimeout(ANSWER_TIMEOUT)
    try:
        installation.mark_broker(connection)
    except BaseException:
        drop(connection)
        raise
    return connection


def probe(producer: Any) -> None:
    """Check that the broker answers on the connection of the next message. Raises one of BROKER_ERRORS.

    A connection that ended while it was idle would take a message and lose it, and leave in doubt whether it was sent.
    """
    channel = producer.channel
    if isinstance(channel, RedisChannel):
        # On a connection for publishing: the channel's own may be waiting for messages.
        with channel.conn_or_acquire() as client:
            client.ping()
    elif hasattr(channel, "confirm_select"):
        channel.confirm_select()


def drop(connection: Any) -> None:
    """Close a connection without the protocol's goodbye, for which the broker may not answer."""
    with suppress(Exception):
        connection.collect()


def open_producer(connection: Any) -> Producer:
    """A producer on a connection of `connect`, its channel open. Raises one of BROKER_ERRORS."""
    producer = Producer(connection, auto_declare=False)
    # Otherwise the first message would open it, and get the error.
    producer.revive(connection.default_channel)
    return producer


class Producers:
    """A pool of idle connections, each with its producer, for the threads or greenlets of one process."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        # Appending and popping are atomic.
        self._idle: deque[Any] = deque()

    def use(self, work: Callable[[Any], None]) -> None:
        """Call `work` with a producer; if its connection turns out stale, once more with a new one.

        So `work` has to continue where it stopped. Raises one of BROKER_ERRORS; a timeout is not tried again.
        """
        try:
            producer = self._idle.pop()
        except IndexError:
            pass
        else:
            if self._try(work, producer):
                return
            # The other idle connections are as old.
            self.clear()
        self._try(work, open_producer(connect(self._app)), last=True)

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
    """Whether the connection was refused, so that surely nothing was written on it.

    Sending tries no connection twice.
    """
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, ConnectionRefusedError):
            return True
        found = found.__cause__ or found.__context__
    return False


def timed_out(error: BaseException) -> bool:
    """Whether the broker did not answer in time, as opposed to a connection that had ended."""
    return isinstance(_cause(error), (TimeoutError, RedisTimeoutError))


def _is_stale(error: BaseException) -> bool:
    """Whether a connection had ended before it was used, as opposed to a broker that does not answer."""
    return isinstance(_cause(error), BROKER_ERRORS) and not timed_out(error)


def _cause(error: BaseException) -> BaseException:
    return error.__cause__ if isinstance(error, OperationalError) and error.__cause__ is not None else error
