"""Publishes runs: from templates where that is possible (see `templates`), else through Celery."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from celery import Celery
from kombu.transport.redis import Channel as RedisChannel

from webapp.database import now
from webapp.producers import BROKER_ERRORS, connect, drop, is_refusal, probe
from webapp.runs import message
from webapp.runs.ids import had_row
from webapp.runs.store import Sendable
from webapp.scheduler.templates import Template, fits, make_template, tags
from webapp.secrecy.sealing import Unopenable

# Messages in one LPUSH.
PUSH = 500


class Sender:
    """Publishes runs on one kept connection. Not thread-safe: it belongs to one thread."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._connection: Any = None
        self._producer: Any = None
        self._templates: dict[tuple[Any, ...], Template | None] = {}
        # Why runs can never be sent, for whoever ends them.
        self.unopenable: dict[str, str] = {}

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
        begun: list[str] | None = None,
    ) -> None:
        """Publish, and add to `sent` the ids of what the broker has taken. Raises what the transport raises.

        `may_send` is asked right before each publication; nothing more is sent once it says no. To `begun` the ids are
        added right before: of those that are not in it nothing was published.
        """
        begun = [] if begun is None else begun
        by_key: dict[str, list[tuple[Sendable, Template]]] = defaultdict(list)
        one_by_one: list[Sendable] = []
        for run in runs:
            template = self._template(run)
            if template is None:
                one_by_one.append(run)
            else:
                by_key[template.key].append((run, template))
        for key, pairs in by_key.items():
            for start in range(0, len(pairs), PUSH):
                if not may_send():
                    return
                chosen = pairs[start : start + PUSH]
                begun += [run.id for run, _ in chosen]
                self._push(key, chosen)
                sent += [run.id for run, _ in chosen]
        for run in one_by_one:
            if not may_send():
                return
            begun.append(run.id)
            self._send_one(run, sent, begun)

    def _send_one(self, run: Sendable, sent: list[str], begun: list[str]) -> None:
        try:
            message.send(self._app, self._open(), run)
        except Unopenable as error:
            self.unopenable[run.id] = str(error)
        except BROKER_ERRORS as error:
            if is_refusal(error):
                begun.remove(run.id)
            raise
        else:
            sent.append(run.id)

    @property
    def connection(self) -> Any:
        """The kept connection. Raises what the transport raises."""
        self._open()
        return self._connection

    def redis(self) -> Any:
        """The broker's Redis client, or None when the broker is another one. Raises what the transport raises."""
        channel = self._open().channel
        return channel.client if self._is_redis(channel) else None

    def queue_of(self, run: message.Addressed) -> str | None:
        """The queue that a run's message goes to, None where that is not known. Asks no server."""
        try:
            return message.queue_of(self._app, run)
        except Exception:  # noqa: BLE001 - a router of a project's own; sending says what is wrong, of that run alone
            return None

    def depth(self, queue: str) -> int:
        """How many messages wait in a queue; none when it does not exist."""
        channel = self._open().channel
        if self._is_redis(channel):
            return int(channel._size(queue))  # noqa: SLF001 - kombu has no public name for it
        with self._connection.channel() as other:
            try:
                return int(other.queue_declare(queue, passive=True).message_count)
            except self._connection.channel_errors:
                return 0

    def end(self, ids: Sequence[str]) -> None:
        """Tell the workers to end these runs."""
        self._app.control.revoke(list(ids), terminate=True, signal="SIGTERM", connection=self._open().connection)

    def close(self) -> None:
        """Drop the connection; the next sending opens another one."""
        connection, self._connection, self._producer = self._connection, None, None
        self._templates.clear()
        if connection is not None:
            drop(connection)

    def _open(self) -> Any:
        if self._producer is None:
            self._connection = connect(self._app)
            self._producer = self._app.amqp.Producer(self._connection, auto_declare=False)
        return self._producer

    @staticmethod
    def _is_redis(channel: Any) -> bool:
        return isinstance(channel, RedisChannel)

    def _template(self, run: Sendable) -> Template | None:
        if run.attempt or run.sealed is not None or run.parent_id is not None or run.root_id is not None:
            return None
        if not had_row(run.id):
            # Its message names the run beside its id.
            return None
        kind = (run.task, run.queue, run.priority, run.options, run.expires_at is None)
        if kind not in self._templates:
            channel = self._open().channel
            made = None
            if self._is_redis(channel) and fits(self._app, run):
                made = make_template(channel, run, lambda probe: message.send(self._app, self._open(), probe))
            self._templates[kind] = made
        return self._templates[kind]

    def _push(self, key: str, pairs: Sequence[tuple[Sendable, Template]]) -> None:
        moment = now()
        messages = [
            template.message(run, moment, tag) for (run, template), tag in zip(pairs, tags(len(pairs)), strict=True)
        ]
        with self._open().channel.conn_or_acquire() as client:
            client.lpush(key, *messages)
