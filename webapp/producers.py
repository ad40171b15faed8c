"""Connections on which messages are sent: none of them waits long for a broker that does not answer.

Celery's own pool connects with the options of consumers, which must be patient: a page that sent on one of those would
hang for most of a minute on a broker that accepts and says nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from amqp.exceptions import AMQPError, ChannelError, MessageNacked
from celery import Celery
from kombu.exceptions import OperationalError
from kombu.transport.redis import Channel as RedisChannel
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

# Seconds that a broker has for each answer.
ANSWER_TIMEOUT = 2.0
# Idle connections that are kept.
KEPT = 10
# Whatever a broker that is away, or does not let us in, makes of a call.
BROKER_ERRORS = (OperationalError, OSError, AMQPError, MessageNacked, RedisError)
# What a broker makes of a message that it has not taken, and says so.
REFUSALS = (ChannelError, MessageNacked)


def connect(app: Celery) -> Any:
    """A connection for sending that gives up soon. Raises one of BROKER_ERRORS."""
    connection = app.connection_for_write(transport_options=app.conf.broker_sending_options)
    # kombu tries twice and rests between the two, unless it is told not to, and that the first took long enough.
    connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0, timeout=ANSWER_TIMEOUT / 2)
    sock = getattr(getattr(connection.connection, "transport", None), "sock", None)
    if sock is not None:
        # AMQP: each answer is waited for on this socket. (Redis has its time-outs among the options.)
        sock.settimeout(ANSWER_TIMEOUT)
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
        return self._app.amqp.Producer(connect(self._app), auto_declare=False)

    def _try(self, work: Callable[[Any], None], producer: Any, *, last: bool = False) -> bool:
        connection = producer.connection
        try:
            work(producer)
        except BaseException as error:
            drop(connection)
            if last or not _is_stale(error):
                raise
            return False
        if len(self._idle) < KEPT:
            self._idle.append(producer)
        else:
            drop(connection)
        return True

    def clear(self) -> None:
        """Drop the idle connections."""
        with suppress(IndexError):
            while True:
                drop(self._idle.pop().connection)


def is_refusal(error: BaseException) -> bool:
    """Whether a message was surely not taken, rather than that nobody can say.

    Sending tries no connection twice, so one that was refused had nothing written on it before.
    """
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, (*REFUSALS, ConnectionRefusedError)):
            return True
        found = found.__cause__ or found.__context__
    return False


def _is_stale(error: BaseException) -> bool:
    """Whether a connection had ended before it was used, rather than that the broker does not answer."""
    cause = error.__cause__ if isinstance(error, OperationalError) and error.__cause__ is not None else error
    return isinstance(cause, BROKER_ERRORS) and not isinstance(cause, (TimeoutError, RedisTimeoutError))
