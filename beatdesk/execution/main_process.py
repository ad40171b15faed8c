"""Entries that only a worker's main process can emit: received, cancelled, ended with their process.

All others come from the process that executes the run (see `run_task`).
"""

from __future__ import annotations

import logging
import traceback as traceback_module
from collections.abc import Mapping
from typing import Any
from weakref import WeakValueDictionary

from celery import signals

from beatdesk.execution.current import current_of
from beatdesk.execution.emitter import Subject, append_received, emit, emit_received
from beatdesk.execution.events import Event
from beatdesk.execution.exceptions import headline
from beatdesk.execution.host import get_host
from beatdesk.execution.ids import id_of_task
from beatdesk.execution.message import run_of_message
from beatdesk.secrecy import executing

# The requests in hand: some signals have their id alone.
_requests: WeakValueDictionary[str, Any] = WeakValueDictionary()


@signals.task_received.connect
def _received(request: Any, **_: Any) -> None:
    if _is_adopted(request.task):
        _requests[request.id] = request
        emit_received(request)


def _is_adopted(task: Any) -> bool:
    """Whether a task is of the app that is executed here; its worker may execute another one."""
    return task.app is get_host().app and get_host().enabled


@signals.task_failure.connect
def _failed(sender: Any, task_id: str, exception: BaseException, einfo: Any, **_: Any) -> None:
    """A process that is gone, or that took too long."""
    if current_of(task_id) is not None or not _is_adopted(sender):
        return
    known = _requests.get(task_id)
    message = {"id": task_id, "task": sender.name} if known is None else known.request_dict
    if known is not None and not get_host().owns_worker and run_of_message(message) is None:
        # What its process would have said of it may be lost with that.
        append_received(message)
    trace = getattr(einfo, "traceback", None) or "".join(traceback_module.format_exception(exception))
    emit(_subject(message), Event.FAILED, headline(exception), str(trace))


@signals.task_retry.connect
def _retrying(sender: Any, request: Any, reason: Any, **_: Any) -> None:
    if current_of(request.id) is not None or not _is_adopted(sender):
        return
    cause = getattr(reason, "exc", None)
    text = headline(cause) if isinstance(cause, BaseException) else str(reason)
    emit(_subject(vars(request)), Event.RETRYING, text)


@signals.task_revoked.connect
def _revoked(sender: Any, request: Any, terminated: bool, expired: bool, **_: Any) -> None:
    if not _is_adopted(sender):
        return
    if expired:
        text = "Expired before a worker was free"
    else:
        text = "Terminated while it ran" if terminated else "Cancelled before it started"
    message = vars(request)
    if not terminated and run_of_message(message) is None:
        # It may have no row yet.
        append_received(message)
    emit(_subject(message), Event.EXPIRED if expired else Event.REVOKED, text)


def _subject(message: Mapping[str, Any]) -> Subject:
    """The run of a message that this worker executes, or has in hand, in the attempt that it is in."""
    task_id = str(message["id"])
    run_id, attempt = run_of_message(message), message.get("retries") or 0
    begun = get_host().started_here(run_id or task_id, message)
    run_id, attempt = begun or (run_id or id_of_task(task_id), attempt)
    over = get_host().over(run_id, message)
    return Subject(run_id, attempt, message.get("hostname"), message.get("task") or "", over)


@signals.after_setup_logger.connect
@signals.after_setup_task_logger.connect
def _hide_in_logs(logger: logging.Logger, **_: Any) -> None:
    if not get_host().owns_worker:
        return
    for handler in logger.handlers:
        if not any(isinstance(known, executing.HidingFilter) for known in handler.filters):
            handler.addFilter(executing.HidingFilter())
