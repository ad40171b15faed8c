"""The message of a run, made by Celery itself; pages, tasks and beat all send through here."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from celery import Celery
from celery.exceptions import SoftTimeLimitExceeded
from celery.result import denied_join_result
from kombu.exceptions import OperationalError

from beatdesk.execution.canvas import OPTION_NAMES, replacement_of
from beatdesk.execution.ids import had_row
from beatdesk.execution.message import RUN_HEADER, SENDING_HEADER
from beatdesk.secrecy.embedded import opened
from beatdesk.secrecy.masking import call_of
from beatdesk.secrecy.sealing import Unopenable
from beatdesk.secrecy.text import SEALED, hide
from webapp.messaging.producers import ConnectionLost, NotNow, Producer, Unsendable, describe_error
from webapp.run_store.models import Run
from webapp.run_store.observed import Observed
from webapp.run_store.statements import SENT_AGAIN, Sendable
from webapp.task_catalogue.registry import registered_task

logger = logging.getLogger(__name__)

# Where it goes, and what follows it (see `canvas`).
_OPENED = ("headers", *OPTION_NAMES)
_PASSED_ON = ("exchange", "routing_key", *_OPENED)
_DESTINATION = ("queue", "exchange", "routing_key")
# Seconds that a broker has to confirm one message.
CONFIRM_TIMEOUT = 2.0


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
            # A worker's process is ended this way. In another thread only a router can have raised it.
            raise
        if getattr(producer, "published", 0) > published:
            # A receiver of Celery's signal raised, or Celery's event about the message was refused.
            logger.warning("run %s was sent; afterwards: %s", run.id, describe_error(error))
            return
        # The text of an exception may repeat an argument.
        secret = not isinstance(error, Unopenable) and (run.sealed is not None or SEALED in (run.options or ""))
        # Celery takes some that its routers or a task raised for the transport's, and wraps them.
        cause = error.__cause__ if isinstance(error, OperationalError) and error.__cause__ is not None else error
        why = type(cause).__name__ if secret else hide(describe_error(cause))
        raise Unsendable(f"its message cannot be made: {why}") from error


def _send(app: Celery, producer: Producer, run: Run | Sendable) -> None:
    replacement = replacement_of(run.options)
    if replacement is not None:
        # As Celery has sent it: the signature has the run's id.
        signature = opened(replacement)
        call = signature["task"], signature.get("args"), signature.get("kwargs")
        options = dict(signature["options"])
    else:
        args, kwargs = call_of(run)
        call, options = (run.task, args, kwargs), _options(app, run, args, kwargs)
    _name_run(options, run)
    options = {"root_id": run.root_id or run.id, **options, "parent_id": run.parent_id}
    # Else the backend subscribes to the result's channel, for a caller that waits; none does here.
    with denied_join_result():
        # Sent inside of a task, it is no child whose result that task's result has to name.
        app.send_task(*call, producer=producer, add_to_parent=False, confirm_timeout=CONFIRM_TIMEOUT, **options)


def _options(app: Celery, run: Run | Sendable, args: list[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The options of a run's message, its task's own among them."""
    more: dict[str, Any] = json.loads(run.options) if run.options else {}
    given = {"queue": run.queue, "priority": run.priority, "expires": run.expires_at}
    given |= {name: opened(value) if name in _OPENED else value for name, value in more.items() if name in _PASSED_ON}
    options = {name: value for name, value in given.items() if value is not None}
    options |= {"task_id": run.id, "retries": run.attempt or 0}
    task = registered_task(run.task, app)
    if task is not None:
        # `send_task` adds the task's other options, such as its time limits, itself.
        options["ignore_result"] = task.ignore_result
        options["shadow"] = task.shadow_name(args, kwargs, options)
    return options


# They have the fields that decide where a run's message goes.
Addressed = Run | Sendable | Observed


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
    app: Celery, task: str, given: Mapping[str, Any], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
) -> Destination:
    """Where Celery sends a message of a task; `given` may name a queue, an exchange and a routing key.

    1. What is given counts, else the task's own options, else a route, else the default queue.
    2. An exchange and a routing key together decide. One without the other does nothing: the queue decides.

    Raises what a router of the project raises.
    """
    own = registered_task(task, app)
    named = {name: given.get(name) or getattr(own, name, None) for name in _DESTINATION}
    route = app.amqp.router.route({name: value for name, value in named.items() if value}, task, args, kwargs)
    exchange, key = route.get("exchange"), route.get("routing_key")
    if exchange and key:
        return Destination(None, str(getattr(exchange, "name", exchange)), str(key))
    queue = str((route.get("queue") or app.amqp.default_queue).name)
    return Destination(queue, "", queue)


def destination_of(app: Celery, run: Addressed) -> Destination:
    """Where a run's message goes, as far as it can be said without its arguments. Raises as `destination` does."""
    given: dict[str, Any] = json.loads(run.options) if run.options else {}
    replacement = replacement_of(run.options)
    if replacement is not None:
        return destination(app, replacement["task"], replacement["options"])
    return destination(app, run.task, {**given, "queue": run.queue})


def _name_run(options: dict[str, Any], run: Run | Sendable) -> None:
    """Have the message name its run where its id does not, and no other one; and say whether it may be a further one.

    The latter is for adopted workers, whose Redis may have forgotten what they executed.
    """
    ours = (RUN_HEADER, SENDING_HEADER)
    headers = {name: value for name, value in (options.get("headers") or {}).items() if name not in ours}
    if not had_row(run.id):
        headers[RUN_HEADER] = run.id
    kind = "asked" if (run.reason or "").startswith(SENT_AGAIN) else "again" if run.sends else None
    if kind is not None:
        headers[SENDING_HEADER] = f"{kind} {run.attempt or 0} {options.get('replaced_task_nesting') or 0}"
    if headers or "headers" in options:
        options["headers"] = headers
