"""The message of a run, made by Celery itself. Pages, tasks and beat send through here, so that all say the same."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from celery import Celery
from celery.exceptions import SoftTimeLimitExceeded
from celery.result import denied_join_result
from kombu.exceptions import OperationalError

from webapp.messaging.producers import ConnectionLost, NotNow, Producer, Unsendable, describe_error
from webapp.run_store.canvas import KEPT, options_of, replacement_of
from webapp.run_store.ids import had_row, id_of_task, is_run_id
from webapp.run_store.models import Run
from webapp.run_store.statements import Sendable
from webapp.secrecy.embedded import opened
from webapp.secrecy.masking import call_of, conceal
from webapp.secrecy.sealing import Unopenable
from webapp.secrecy.text import SEALED, hide
from webapp.task_catalogue.registry import rule_for

logger = logging.getLogger(__name__)

# Where it goes, and what follows it (see `canvas`).
_OPENED = ("headers", *KEPT)
_PASSED_ON = ("exchange", "routing_key", *_OPENED)
_DESTINATION = ("queue", "exchange", "routing_key")
# Seconds that a broker has to confirm one message.
CONFIRM_TIMEOUT = 2.0
# The run that a message is of, where its task id does not say so: what other programs send has ids of their choice.
RUN_HEADER = "beatdesk_run"


def run_of_message(headers: Mapping[str, Any]) -> str | None:
    """The run that a message was sent for; None for one that another program sent."""
    given, task_id = headers.get(RUN_HEADER), headers.get("id")
    if is_run_id(given):
        return str(given)
    return task_id if isinstance(task_id, str) and had_row(task_id) else None


def row_of_message(task: str, body: Sequence[Any], headers: Mapping[str, Any], queue: str | None) -> dict[str, Any]:
    """What the row of a message is made of that has none yet; JSON values, its secrets concealed."""
    args, kwargs, embedded = body
    call = conceal(rule_for(task), args or (), kwargs or {})
    related = {name: headers.get(name) for name in ("group_id", "parent_id", "root_id")}
    related["group_id"] = headers.get("group")
    return {
        "task": task,
        "args": call.args,
        "kwargs": call.kwargs,
        "sealed": call.sealed(),
        "queue": queue,
        "options": options_of(embedded, headers.get("group"), headers.get("group_index")),
        "group_index": headers.get("group_index"),
        "eta": headers.get("eta"),
        "expires_at": headers.get("expires"),
        **{name: id_of_task(each) if isinstance(each, str) else None for name, each in related.items()},
    }


def send(app: Celery, producer: Producer, run: Run | Sendable) -> None:
    """Publish a run's message with all its options and its task's.

    Raises ConnectionLost when the broker is away, NotNow when it may be tried again, and Unsendable, with the reason,
    for whatever else goes wrong: that concerns this run alone. Not by the task's own `apply_async`, which may create a
    run; the row is there already.
    """
    published = getattr(producer, "published", 0)
    try:
        _send(app, producer, run)
    except (ConnectionLost, NotNow, Unsendable, SoftTimeLimitExceeded):
        raise
    except (Exception, SystemExit) as error:
        if isinstance(error, SystemExit) and threading.current_thread() is threading.main_thread():
            # A worker's process is ended this way. In a thread only a router, or whoever else is asked, can mean it.
            raise
        if getattr(producer, "published", 0) > published:
            # Whoever was told of the message raised, or the event of Celery's about it was refused.
            logger.warning("run %s was sent; afterwards: %s", run.id, describe_error(error))
            return
        # What an exception says may repeat an argument.
        secret = not isinstance(error, Unopenable) and (run.sealed is not None or SEALED in (run.options or ""))
        # Celery takes some that its routers or a task raised for the transport's, and wraps them.
        cause = error.__cause__ if isinstance(error, OperationalError) and error.__cause__ is not None else error
        why = type(cause).__name__ if secret else hide(describe_error(cause))
        raise Unsendable(f"its message cannot be made: {why}") from error


def _send(app: Celery, producer: Producer, run: Run | Sendable) -> None:
    replacement = replacement_of(run.options)
    if replacement is not None:
        _send_replacement(app, producer, run, opened(replacement))
        return
    args, kwargs = call_of(run)
    options = {"queue": run.queue, "priority": run.priority, **_more(run)}
    options = {name: value for name, value in options.items() if value is not None}
    if run.expires_at is not None:
        options["expires"] = run.expires_at
    _name_run(options, run.id)
    task = _task(app, run.task)
    if task is not None:
        # `send_task` adds the task's other options, such as its time limits, itself.
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
            root_id=run.root_id or run.id,
            parent_id=run.parent_id,
            retries=run.attempt or 0,
            # Sent inside of a task, it is no child whose result that task's result has to name.
            add_to_parent=False,
            confirm_timeout=CONFIRM_TIMEOUT,
            **options,
        )


def _send_replacement(app: Celery, producer: Any, run: Run | Sendable, signature: dict[str, Any]) -> None:
    """What the run has replaced itself by, as Celery has sent it: the signature has the run's id and says the rest."""
    options = {"root_id": run.root_id or run.id, **signature["options"], "parent_id": run.parent_id}
    _name_run(options, run.id)
    with denied_join_result():
        app.send_task(
            signature["task"],
            signature.get("args"),
            signature.get("kwargs"),
            producer=producer,
            add_to_parent=False,
            confirm_timeout=CONFIRM_TIMEOUT,
            **options,
        )


class Addressed(Protocol):
    """What says where a run's message goes: a `Run`, or one of the values that stand for its row."""

    @property
    def task(self) -> str:
        """The task's name."""

    @property
    def queue(self) -> str | None:
        """The queue that the run names itself."""

    @property
    def options(self) -> str | None:
        """JSON of what else `apply_async` takes."""


class Destination(NamedTuple):
    """Where a message goes: to a queue by the default exchange, or to what an exchange and a routing key lead to.

    In the second case `queue` is None: only the broker knows which queues those are.
    """

    queue: str | None
    exchange: str
    routing_key: str

    @property
    def place(self) -> str:
        """It in words."""
        named = f"exchange “{self.exchange}” with the routing key “{self.routing_key}”"
        return f"queue “{self.queue}”" if self.queue is not None else named


def destination(
    app: Celery, task: str, asked: Mapping[str, Any], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
) -> Destination:
    """Where Celery sends a message of a task; `asked` may name a queue, an exchange and a routing key.

    1. What is asked for counts, else what the task's own options name, else a route, else the default queue.
    2. An exchange and a routing key together decide. One without the other does nothing: the queue decides.

    Raises what somebody's router raises.
    """
    own = _task(app, task)
    named = {name: asked.get(name) or getattr(own, name, None) for name in _DESTINATION}
    route = app.amqp.router.route({name: value for name, value in named.items() if value}, task, args, kwargs)
    exchange, key = route.get("exchange"), route.get("routing_key")
    if exchange and key:
        return Destination(None, str(getattr(exchange, "name", exchange)), str(key))
    queue = str((route.get("queue") or app.amqp.default_queue).name)
    return Destination(queue, "", queue)


def queue_of(app: Celery, run: Addressed) -> str | None:
    """The queue that a run's message goes to; None where an exchange decides. Raises what somebody's router raises."""
    return destination_of(app, run).queue


def destination_of(app: Celery, run: Addressed) -> Destination:
    """Where a run's message goes, as far as it can be said without its arguments. Raises as `destination` does."""
    given: dict[str, Any] = json.loads(run.options) if run.options else {}
    replacement = replacement_of(run.options)
    if replacement is not None:
        return destination(app, replacement["task"], replacement["options"])
    return destination(app, run.task, {**given, "queue": run.queue})


def _name_run(options: dict[str, Any], run_id: str) -> None:
    """Have the message name its run where its id does not, and no other one."""
    headers = {name: value for name, value in (options.get("headers") or {}).items() if name != RUN_HEADER}
    if not had_row(run_id):
        headers[RUN_HEADER] = run_id
    if headers or "headers" in options:
        options["headers"] = headers


def _more(run: Run | Sendable) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run.options) if run.options else {}
    return {name: opened(value) if name in _OPENED else value for name, value in found.items() if name in _PASSED_ON}


def _task(app: Celery, name: str) -> Any:
    """The registered task, or None. A web process has imported no tasks before it first needs one."""
    if name not in app.tasks:
        try:
            app.loader.import_default_modules()
        except Exception:
            # What is broken in somebody's module concerns no other task. A worker may know this one.
            logger.exception("the tasks cannot be imported")
    return app.tasks.get(name)
