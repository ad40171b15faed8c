"""Entries that only a worker's main process can emit: received, cancelled, ended with their process.

All others come from the process that executes the run (see `run_task`).
"""

from __future__ import annotations

import logging
import traceback as traceback_module
from collections.abc import Mapping
from typing import Any

from celery import signals

from beatdesk.execution.current import current_of
from beatdesk.execution.emitter import Subject, append_received, emit, emit_received
from beatdesk.execution.events import Event
from beatdesk.execution.exceptions import headline
from beatdesk.execution.host import get_host
from beatdesk.execution.ids import id_of_task
from beatdesk.execution.message import run_of_message
from beatdesk.secrecy import executing


@signals.task_received.connect
def _received(request: Any, **_: Any) -> None:
    emit_received(request)


@signals.task_failure.connect
def _failed(sender: Any, task_id: str, exception: BaseException, einfo: Any, **_: Any) -> None:
    """A process that is gone, or that took too long."""
    if current_of(task_id) is not None:
        return
    trace = getattr(einfo, "traceback", None) or "".join(traceback_module.format_exception(exception))
    emit(_subject({"id": task_id, "task": sender.name}), Event.FAILED, headline(exception), str(trace))


@signals.task_retry.connect
def _retrying(request: Any, reason: Any, **_: Any) -> None:
    if current_of(request.id) is not None:
        return
    cause = getattr(reason, "exc", None)
    text = headline(cause) if isinstance(cause, BaseException) else str(reason)
    emit(_subject(vars(request)), Event.RETRYING, text)


@signals.task_revoked.connect
def _revoked(request: Any, terminated: bool, expired: bool, **_: Any) -> None:
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
    run_id, attempt = get_host().started_here(run_id or task_id) or (run_id or id_of_task(task_id), attempt)
    return Subject(run_id, attempt, message.get("hostname"), message.get("task") or "")


@signals.after_setup_logger.connect
@signals.after_setup_task_logger.connect
def _hide_in_logs(logger: logging.Logger, **_: Any) -> None:
    for handler in logger.handlers:
        if not any(isinstance(known, executing.HidingFilter) for known in handler.filters):
            handler.addFilter(executing.HidingFilter())
