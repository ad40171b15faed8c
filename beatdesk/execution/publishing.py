"""Entries about messages that a task sends (`.delay()`, a chain, a group, a chord).

The recorder makes the rows of their runs from them: to emit an entry costs the task a fraction of a millisecond.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from celery import signals

from beatdesk.execution.current import Execution, current
from beatdesk.execution.emitter import Subject, emit
from beatdesk.execution.events import TEXT_LIMIT, Event
from beatdesk.execution.ids import had_row, is_random
from beatdesk.execution.message import RUN_HEADER, UNDELIVERED_HEADER, row_of_message

logger = logging.getLogger(__name__)


@signals.celeryd_init.connect
def _listen(**_: Any) -> None:
    """In workers only: beat sends many at once, past Celery, as long as no receiver is connected."""
    signals.before_task_publish.connect(_publishing)
    signals.after_task_publish.connect(_published)


def _publishing(headers: dict[str, Any], **_: Any) -> None:
    """Name the run that a task sends, so that its message is guarded as our own are.

    An id that a task chose itself may be sent again, and then is another run.
    """
    execution = current()
    if execution is not None:
        # Before it is published: afterwards a worker may have begun it.
        execution.sending_at = datetime.now(UTC)
    if execution is None or RUN_HEADER in headers or _goes_on(execution, headers):
        return
    task_id = str(headers["id"])
    if task_id == execution.task_id or not (is_random(task_id) or had_row(task_id)):
        headers[RUN_HEADER] = str(uuid.uuid4())
    elif is_random(task_id):
        headers[RUN_HEADER] = task_id


def _goes_on(execution: Execution, headers: Mapping[str, Any]) -> bool:
    """Whether a message is the next attempt of the current run, or its replacement."""
    nesting = headers.get("replaced_task_nesting") or 0
    return headers["id"] == execution.task_id and bool(nesting or (headers.get("retries") or 0) > execution.retries)


def _published(sender: str, headers: Mapping[str, Any], body: Any, routing_key: str, **_: Any) -> None:
    """Emit that a run has sent a message. Others have their row already, or get it when they are received."""
    if UNDELIVERED_HEADER not in headers:
        _emit(sender, headers, body, routing_key)


def keep_undelivered(headers: Mapping[str, Any], body: Any, routing_key: str, reason: str) -> bool:
    """Keep a message that a run has sent to a queue that does not exist: beat sends it once there is one.

    False where it does not belong to a run that is executed here.
    """
    kept = _emit(headers["task"], headers, body, routing_key, reason)
    if kept:
        logger.warning("run %s of %s is sent later: %s", headers["id"], headers["task"], reason)
    return kept


def _emit(sender: str, headers: Mapping[str, Any], body: Any, routing_key: str, undelivered: str | None = None) -> bool:
    """Emit a message of the run that is executed here; whether it will have a row."""
    execution, run_id = current(), headers.get(RUN_HEADER)
    if execution is None or run_id is None or run_id == execution.id:
        return False
    row = row_of_message(sender, body, headers, routing_key)
    text = json.dumps({**row, "external_id": str(headers["id"]), "undelivered": undelivered}, default=repr)
    # A text too large for the stream would be cut; such a run gets its row when it is claimed.
    if len(text) > TEXT_LIMIT:
        return False
    emit(Subject(run_id, headers.get("retries") or 0), Event.PUBLISHED, text, at=execution.sending_at)
    return True
