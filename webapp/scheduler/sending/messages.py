"""Publishes runs: from templates where that is possible (see `templates`), else through Celery."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from celery import Celery
from celery.utils.log import get_logger
from redis.exceptions import ResponseError

from beatdesk.execution.ids import had_row
from webapp.database.engine import now
from webapp.messaging import installation
from webapp.messaging.delivery import Undeliverable
from webapp.messaging.producers import (
    BROKER_ERRORS,
    ConnectionLost,
    NotNow,
    Producer,
    Unsendable,
    concerns_connection,
    connect,
    describe_error,
    drop,
    is_refused,
    open_producer,
    probe,
    timed_out,
)
from webapp.messaging.redis_transport import is_redis, pushed_ahead, size
from webapp.run_store import message
from webapp.run_store.statements import Sendable, Target, target_of
from webapp.scheduler.sending.message_templates import Template, fits, make_template, tags
from webapp.task_catalogue.registry import route

logger = get_logger(__name__)

# Messages in one LPUSH.
PUSH = 500
# Seconds until a message is tried again that the broker has no queue for.
TRY_AGAIN_AFTER = 10.0
# So often the connection may break while one run is being sent, the last times by itself and just after the broker
# answered. Redis breaks it, rather than say so, for a message that is larger than it takes.
MAX_BREAKS = 4
MAX_BLAMED = 10_000
# Of RabbitMQ, where the highest goes first (see `celery_config`).
HIGHEST_PRIORITY = 9


class Ahead(list[Sendable]):
    """Runs whose messages go ahead of those that wait in their queues."""


class Sender:
    """Publishes runs on one kept connection. Not thread-safe: it belongs to one thread."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._connection: Any = None
        self._producer: Any = None
        self._templates: dict[tuple[Any, ...], Template | None] = {}
        # Why runs cannot be sent, by id, for the publisher to fail them.
        self.unsendable: dict[str, str] = {}
        # Targets that the broker has no queue for: until when none of their runs is tried, and why.
        self._undeliverable: dict[Target, tuple[float, str]] = {}
        # Those of them that are to be noted at their runs.
        self.undelivered: dict[Target, str] = {}
        # How often the connection broke while a run was being sent.
        self._breaks: dict[str, int] = {}

    def ready(self) -> None:
        """Have a connection that answers. Raises what the transport raises."""
        try:
            probe(self._open())
        except BROKER_ERRORS:
            # It may have ended while nothing was sent.
            self.close()
            probe(self._open())

    def send(
        self,
        runs: Sequence[Sendable],
        may_send: Callable[[], bool],
        sent: list[str],
        begun: set[str] | None = None,
    ) -> None:
        """Publish, and add to `sent` the ids of what the broker has taken. Raises what the transport raises.

        `may_send` is asked right before each publication; nothing more is sent once it says no. What cannot be sent is
        noted in `unsendable`, with its reason, and keeps no other run back. To `begun` the ids are added right before
        their publication, and taken out when the broker surely has not taken them.
        """
        begun = set() if begun is None else begun
        ahead = isinstance(runs, Ahead)
        by_key: dict[str, list[tuple[Sendable, Template]]] = defaultdict(list)
        one_by_one: list[Sendable] = []
        for run in runs:
            template = None if ahead or run.id in self._breaks else self._template(run)
            if template is None:
                one_by_one.append(run)
            else:
                by_key[template.key].append((run, template))
        for key, pairs in by_key.items():
            for start in range(0, len(pairs), PUSH):
                if not may_send():
                    return
                chosen = pairs[start : start + PUSH]
                begun.update(run.id for run, _ in chosen)
                sent += self._push(key, chosen)
        # What may have broken a connection comes last, and what broke it most often after that.
        for run in sorted(one_by_one, key=lambda run: self._breaks.get(run.id, 0)):
            if not may_send():
                return
            begun.add(run.id)
            if self._send_one(run, begun, ahead=ahead):
                sent.append(run.id)

    def _send_one(self, run: Sendable, begun: set[str], *, ahead: bool) -> bool:
        """Whether the broker took it. Raises ConnectionLost."""
        if self._undeliverable and self._rests(target_of(run)):
            begun.discard(run.id)
            return False
        if self._breaks.get(run.id, 0) > 1:
            # On a connection that has just been opened, so that nothing but this message can have broken it.
            self.close()
        producer = self._open()
        try:
            if ahead:
                self._send_ahead(producer, run)
            else:
                message.send(self._app, producer, run)
        except NotNow as error:
            begun.discard(run.id)
            self._leave(run, error)
            return False
        except Unsendable as error:
            self._give_up(run, str(error))
            return False
        except ConnectionLost as error:
            if is_refused(error):
                begun.discard(run.id)
            self._blame([run], error)
            if self._breaks[run.id] < MAX_BREAKS:
                raise
            self._give_up(run, f"the broker closes the connection when this message is sent: {error}")
            self.close()
            return False
        self._breaks.pop(run.id, None)
        if self._undeliverable:
            self._undeliverable.pop(target_of(run), None)
        return True

    def _leave(self, run: Sendable, error: NotNow) -> None:
        if isinstance(error, Undeliverable):
            self._let_rest(run, str(error))
        else:
            logger.warning("Run %s is sent later: %s.", run.id, error)

    def _let_rest(self, run: Sendable, why: str) -> None:
        target = target_of(run)
        if target not in self._undeliverable:
            logger.warning("Run %s is sent later: %s.", run.id, why)
        self._undeliverable[target] = (time.monotonic() + TRY_AGAIN_AFTER, why)
        self.undelivered[target] = why

    def _rests(self, target: Target) -> bool:
        """Whether the broker had no queue for a run of this target a moment ago."""
        until, why = self._undeliverable.get(target, (0.0, ""))
        if time.monotonic() >= until:
            return False
        self.undelivered[target] = why
        return True

    @property
    def resting(self) -> list[Target]:
        """The targets of which none is tried now. May be asked by any thread."""
        now = time.monotonic()
        return [target for target, (until, _) in self._undeliverable.copy().items() if now < until]

    def _send_ahead(self, producer: Producer, run: Sendable) -> None:
        """Redis: at the end of the list that is read first. RabbitMQ: by the next higher priority."""
        channel = producer.channel
        if is_redis(channel):
            with pushed_ahead(channel):
                message.send(self._app, producer, run)
            return
        own = getattr(self._app.tasks.get(run.task), "priority", None) if run.priority is None else run.priority
        message.send(self._app, producer, run._replace(priority=min((own or 0) + 1, HIGHEST_PRIORITY)))

    def _give_up(self, run: Sendable, why: str) -> None:
        self.unsendable[run.id] = why
        self._breaks.pop(run.id, None)

    def _blame(self, runs: Sequence[Sendable], error: BaseException) -> None:
        if len(self._breaks) + len(runs) > MAX_BLAMED:
            self._breaks.clear()
        for run in runs:
            # A broker that does not answer in time says nothing about the message.
            self._breaks[run.id] = 1 if timed_out(error) else self._breaks.get(run.id, 0) + 1

    def redis(self) -> Any:
        """The broker's Redis client, or None when the broker is another one. Raises what the transport raises."""
        channel = self._open().channel
        return channel.client if is_redis(channel) else None

    @property
    def connection(self) -> Any:
        """The kept connection. Raises what the transport raises."""
        self._open()
        return self._connection

    def mark(self) -> None:
        """Check that the broker still belongs to this installation. Raises OtherInstallation."""
        installation.mark_broker(self._open().connection)

    def queue_of(self, run: message.Addressed) -> str | None:
        """The queue that a run's message goes to; None when that is for an exchange to decide, or cannot be said."""
        try:
            return message.destination_of(self._app, run).queue
        except Exception as error:  # noqa: BLE001 - a router of another project, a row that was written by hand
            logger.debug("The queue of a run of %s is unknown: %s", run.task, describe_error(error))
            return None

    def depth(self, queue: str) -> int:
        """How many messages wait in a queue; none when it does not exist."""
        channel = self._open().channel
        if is_redis(channel):
            try:
                return size(channel, queue)
            except ResponseError:
                # Something else has this name. Whatever waits for it is not lost.
                return 1
        with self._connection.channel() as other:
            try:
                return int(other.queue_declare(queue, passive=True).message_count)
            except self._connection.channel_errors:
                return 0

    def revoke(self, ids: Sequence[str], *, terminate: bool) -> None:
        """Ask the workers to drop the messages of these runs, or with `terminate` to end them. Raises BROKER_ERRORS."""
        connection = self._open().connection
        self._app.control.revoke(list(ids), terminate=terminate, signal="SIGTERM", connection=connection)

    def close(self) -> None:
        """Drop the connection; the next sending opens another one."""
        connection, self._connection, self._producer = self._connection, None, None
        self._templates.clear()
        if connection is not None:
            drop(connection)

    def _open(self) -> Any:
        if self._producer is None:
            self._connection = connect(self._app)
            self._producer = open_producer(self._connection)
        return self._producer

    def _template(self, run: Sendable) -> Template | None:
        """The template for a run; None when its message is to be made by Celery, which says what is wrong with it."""
        if run.attempt or run.sealed is not None or run.parent_id is not None or run.root_id is not None:
            return None
        if not had_row(run.id):
            # Its message names the run beside its id.
            return None
        # Where our own route leads may change.
        kind = (run.task, str(route(run.task)), run.queue, run.priority, run.options, run.expires_at is None)
        if kind not in self._templates:
            channel = self._open().channel
            made = None
            try:
                if is_redis(channel) and fits(self._app, run):
                    made = make_template(channel, run, lambda probe: message.send(self._app, self._open(), probe))
            except ConnectionLost:
                raise
            except Exception as error:  # noqa: BLE001 - whatever the task and its options make of it
                logger.debug("No template for %s: %s", run.task, describe_error(error))
            self._templates[kind] = made
        return self._templates[kind]

    def _push(self, key: str, pairs: Sequence[tuple[Sendable, Template]]) -> list[str]:
        """The ids of the runs whose messages the broker took. Raises ConnectionLost."""
        moment = now()
        made: list[tuple[Sendable, str]] = []
        for (run, template), tag in zip(pairs, tags(len(pairs)), strict=True):
            try:
                made.append((run, template.message(run, moment, tag)))
            except Exception as error:  # noqa: BLE001 - such as arguments that are no JSON
                self._give_up(run, f"its message cannot be made: {describe_error(error)}")
        return self._push_all(key, made) if made else []

    def _push_all(self, key: str, made: Sequence[tuple[Sendable, str]]) -> list[str]:
        try:
            with self._open().channel.conn_or_acquire() as client:
                client.lpush(key, *(text for _, text in made))
        except BROKER_ERRORS as error:
            runs = [run for run, _ in made]
            if concerns_connection(error):
                self._blame(runs, error)
                raise ConnectionLost(describe_error(error)) from error
            self.close()
            if len(made) > 1:
                # One of them is refused, or each is.
                return [run_id for one in made for run_id in self._push_all(key, [one])]
            self._give_up(runs[0], f"the broker cannot be given its message: {describe_error(error)}")
            return []
        return [run.id for run, _ in made]
