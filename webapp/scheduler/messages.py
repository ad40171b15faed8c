"""The message of a run, published by Celery itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from celery import Celery
from celery.result import denied_join_result

from webapp.runs.store import Sendable


def send_by_celery(app: Celery, producer: Any, run: Sendable) -> None:
    """Publish a run's message through Celery, with all its options. Raises what kombu raises when it cannot.

    Not by the task's own `apply_async`, which may create a run; the row is there already.
    """
    args, kwargs = json.loads(run.args), json.loads(run.kwargs)
    options: dict[str, Any] = {"queue": run.queue, "priority": run.priority}
    options |= json.loads(run.options) if run.options else {}
    options = {name: value for name, value in options.items() if value is not None}
    if run.expires_at is not None:
        options["expires"] = run.expires_at
    task = app.tasks.get(run.task)
    if task is not None:
        options["ignore_result"] = task.ignore_result
        options["shadow"] = task.shadow_name(args, kwargs, options)
    # Else the backend subscribes to the result's channel, for a caller who waits. Nobody waits here.
    with denied_join_result():
        app.send_task(
            run.task,
            args,
            kwargs,
            task_id=run.id,
            producer=producer,
            root_id=run.root_id,
            parent_id=run.parent_id,
            retries=run.attempt,
            **options,
        )


class Sender:
    """Publishes runs on one kept connection. Not thread-safe: it belongs to one thread."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._connection: Any = None
        self._producer: Any = None

    def send(self, runs: Sequence[Sendable], may_send: Callable[[], bool]) -> list[str]:
        """Publish and return the ids of what the broker has taken. Raises what the transport raises."""
        producer = self._open()
        sent = []
        for run in runs:
            if not may_send():
                break
            send_by_celery(self._app, producer, run)
            sent.append(run.id)
        return sent

    def close(self) -> None:
        """Drop the connection; the next sending opens another one."""
        connection, self._connection, self._producer = self._connection, None, None
        if connection is not None:
            # A connection that is broken may also fail to close.
            with suppress(Exception):
                connection.close()

    def _open(self) -> Any:
        if self._producer is None:
            self._connection = self._app.connection_for_write()
            self._producer = self._app.amqp.Producer(self._connection, auto_declare=False)
        return self._producer
