"""The worker's consumer, which no message ends and no rate limit fills.

A message that cannot be executed fails its run, or is discarded and counted.

Celery's own consumer ends the worker by some messages. Every program that reaches the broker can send one, so nothing
about a message is trusted before it was checked here.

Celery keeps what exceeds a rate limit in memory, within the number of messages that a worker may hold. That is one for
each process here, so two such runs would keep a worker of two processes from everything else. So:

1. Each run that waits for a rate limit allows one more message, up to `MAX_WAITING`.
2. A message that is delivered again while it waits, as Redis does after the visibility time-out, takes the place of the
   earlier one.
3. The worker's heartbeat names the waiting runs, so that they are not taken for lost and sent again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from celery.utils.saferepr import saferepr
from celery.worker.consumer import Consumer as CeleryConsumer

from beatdesk.execution.emitter import Subject, append_received, emit
from beatdesk.execution.events import MAX_INTEGER, Event
from beatdesk.execution.ids import had_row
from beatdesk.execution.message import run_of_message
from webapp.messaging.celery_config import DEFAULT_QUEUE
from webapp.messaging.redis_transport import GuardedChannel
from webapp.worker_process import discards

logger = logging.getLogger(__name__)

UNKNOWN_TASK = "no worker knows this task"
# Runs that wait for a rate limit lie in this worker's memory, and other workers do not get them.
MAX_WAITING = 1_000


class Consumer(CeleryConsumer):
    """Celery's consumer, which no message can end and no rate limit can fill. What `worker_consumer` names."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._waiting: dict[str, Any] = {}
        super().__init__(*args, **kwargs)

    @property
    def waiting(self) -> list[str]:
        """The task ids of the runs that wait for a rate limit, for any thread."""
        return list(self._waiting)

    def _limit_task(self, request: Any, bucket: Any, tokens: int) -> None:
        earlier = self._waiting.get(request.id)
        self._waiting[request.id] = request
        if earlier is None:
            if len(self._waiting) <= MAX_WAITING:
                self.qos.increment_eventually()
            super()._limit_task(request, bucket, tokens)
        elif earlier.message.delivery_tag != request.message.delivery_tag:
            # Redis delivers again under the same tag; to acknowledge one would be to acknowledge both.
            earlier.acknowledge()

    def _limit_post_eta(self, request: Any, bucket: Any, tokens: int) -> None:
        # Celery allowed one more for the time that it waited for.
        self.qos.decrement_eventually()
        self._limit_task(request, bucket, tokens)

    def _limit_move_to_pool(self, request: Any) -> None:
        newest = self._waiting.pop(request.id, None)
        if newest is not None and len(self._waiting) < MAX_WAITING:
            self.qos.decrement_eventually()
        super()._limit_move_to_pool(newest or request)

    def on_close(self) -> None:
        """Forget what waits, with the connection that brought it."""
        super().on_close()
        self._waiting.clear()

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Any], None]:
        """The handler of each message."""
        handle = super().create_task_handler(*args, **kwargs)

        def on_message(message: Any) -> None:
            fault = _fault(message.headers)
            if fault is None:
                self._guarded(message, "no message of a task", lambda: handle(message))
            else:
                message.reject_log_error(logger, self.connection_errors)
                self._account(message, fault)

        return on_message

    def on_unknown_message(self, body: Any, message: Any) -> None:
        """A message without the name of a task."""
        self._guarded(message, "", lambda: super(Consumer, self).on_unknown_message(body, message))
        self._account(message, "no message of a task")

    def on_unknown_task(self, body: Any, message: Any, exc: Exception) -> None:
        """A task that this worker has not registered."""
        self._guarded(message, "", lambda: super(Consumer, self).on_unknown_task(body, message, exc))
        self._account(message, UNKNOWN_TASK)

    def on_invalid_task(self, body: Any, message: Any, exc: Exception) -> None:
        """A message that lacks something, or is of a content type that this worker does not accept."""
        self._guarded(message, "", lambda: super(Consumer, self).on_invalid_task(body, message, exc))
        self._account(message, str(exc))

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """A body that cannot be decoded."""
        self._guarded(message, "", lambda: super(Consumer, self).on_decode_error(message, exc))
        self._account(message, f"cannot be decoded: {exc}")

    def _guarded(self, message: Any, fault: str, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:
            # kombu counts KeyError among them for Redis; here it means that the message lacks something.
            if isinstance(error, self.connection_errors) and not isinstance(error, KeyError):
                raise
            logger.exception("a message cannot be handled")
            if not message.acknowledged:
                message.reject_log_error(logger, self.connection_errors)
            if fault:
                self._account(message, f"{fault}: {type(error).__name__}: {error}")

    def _account(self, message: Any, reason: str) -> None:
        """Fail the run of a message, where it has one or is in our own queue; else count it."""
        try:
            headers = message.headers if isinstance(message.headers, Mapping) else {}
            queue = str((message.delivery_info or {}).get("routing_key") or "")
            run_id = run_of_message(headers)
            is_ours = run_id is not None or (queue == DEFAULT_QUEUE and "id" in headers)
            if not is_ours:
                discards.count(queue, str(headers.get("task") or ""), reason)
                return
            if run_id is None or not had_row(run_id):
                run_id = append_received(self._described(message, headers))
            attempt, task = headers.get("retries"), headers.get("task")
            subject = Subject(run_id, attempt if isinstance(attempt, int) else 0, self.hostname, str(task or ""))
            emit(subject, Event.FAILED, f"NotExecutable: {reason}")
        except Exception:
            logger.exception("a message that cannot be executed cannot be counted either")

    def _described(self, message: Any, headers: Mapping[str, Any]) -> dict[str, Any]:
        described = {**headers, "delivery_info": message.delivery_info, "hostname": self.hostname}
        try:
            args, kwargs, embedded = message.payload
        except Exception:  # noqa: BLE001  # decoding may raise anything: its arguments stay unknown then
            return described
        more = embedded if isinstance(embedded, Mapping) else {}
        args = args if isinstance(args, list | tuple) else []
        kwargs = kwargs if isinstance(kwargs, Mapping) else {}
        return {**more, **described, "args": args, "kwargs": kwargs}


def _fault(headers: Any) -> str | None:
    """The fault in the headers of a task's message that would make Celery fail where no handler catches it.

    Some headers are only used once a process of the pool is free, outside of the handler of the message.
    """
    if not isinstance(headers, Mapping) or "task" not in headers:
        # Of another protocol, or no task at all: Celery looks.
        return None
    for name, is_valid in _HEADERS.items():
        if not is_valid(headers.get(name)):
            return f"its header {name} is {saferepr(headers.get(name), 100)}"
    return None


def _is_count(value: Any) -> bool:
    return value is None or (isinstance(value, int) and 0 <= value <= MAX_INTEGER)


def _is_time_limits(value: Any) -> bool:
    if not value:
        return True
    return (
        isinstance(value, list | tuple)
        and len(value) == 2
        and all(limit is None or isinstance(limit, int | float) for limit in value)
    )


_HEADERS: dict[str, Callable[[Any], bool]] = {
    "id": lambda value: isinstance(value, str) and value != "",
    "task": lambda value: isinstance(value, str),
    "timelimit": _is_time_limits,
    **dict.fromkeys(("retries", "group_index", "replaced_task_nesting"), _is_count),
    **dict.fromkeys(
        ("root_id", "parent_id", "group", "shadow", "eta", "expires"),
        lambda value: value is None or isinstance(value, str),
    ),
    "stamped_headers": lambda value: value is None or isinstance(value, list | tuple),
    "stamps": lambda value: value is None or isinstance(value, Mapping),
}


def _discard_item(error: Exception) -> None:
    """Count an entry of a queue that is not a message."""
    logger.error("discarded an entry of a queue that is not a message: %s: %s", type(error).__name__, error)
    discards.count("", "", "no message")


GuardedChannel.discard = staticmethod(_discard_item)
