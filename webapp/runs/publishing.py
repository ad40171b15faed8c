"""What a task sends by itself (`.delay()`, a chain, a group, a chord) has its row before a worker begins it.

The row is made by the recorder, from an entry of the stream: telling costs the task a fraction of a millisecond.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from celery import current_task, signals

from webapp.delivery import UNDELIVERED
from webapp.extensions import celery
from webapp.registry import rule_for
from webapp.runs import canvas
from webapp.runs.execution import RunTask
from webapp.runs.ids import had_row
from webapp.runs.stream import TEXT_LIMIT, Event
from webapp.runs.telling import tell
from webapp.secrecy.masking import conceal
from webapp.secrecy.sealing import Unopenable

logger = logging.getLogger(__name__)


@signals.celeryd_init.connect
def _listen(**_: Any) -> None:
    """In workers only: beat sends many at once, past Celery, unless somebody listens to each."""
    signals.after_task_publish.connect(_published)
    celery.amqp.keep_undelivered = _keep_undelivered


def _published(sender: str, headers: Mapping[str, Any], body: Any, routing_key: str, **_: Any) -> None:
    """Tell what a run has sent. What is sent from elsewhere has its row already, or gets it when it is claimed."""
    if UNDELIVERED not in headers:
        _tell(sender, headers, body, routing_key)


def _keep_undelivered(headers: Mapping[str, Any], body: Any, routing_key: str, reason: str) -> bool:
    """Whether what a run has sent to a queue that does not exist has its row: then beat sends it once there is one."""
    kept = _tell(headers["task"], headers, body, routing_key, reason)
    if kept:
        logger.warning("run %s of %s is sent later: %s", headers["id"], headers["task"], reason)
    return kept


def _tell(sender: str, headers: Mapping[str, Any], body: Any, routing_key: str, undelivered: str | None = None) -> bool:
    """Whether there will be a row for a message of the run that is executed here."""
    request = _request()
    if request is None or headers["id"] == request.id or had_row(headers["id"]):
        return False
    args, kwargs, embedded = body
    try:
        call = conceal(rule_for(sender), args, kwargs)
    except Unopenable:
        # It fails when it is claimed.
        return False
    text = json.dumps(
        {
            "task": sender,
            "args": call.args,
            "kwargs": call.kwargs,
            "sealed": call.sealed(),
            "queue": routing_key,
            "options": canvas.options_of(embedded, headers["group"], headers["group_index"]),
            "group_id": headers["group"],
            "group_index": headers["group_index"],
            "parent_id": headers["parent_id"],
            "root_id": headers["root_id"],
            "eta": headers["eta"],
            "expires_at": headers["expires"],
            "undelivered": undelivered,
        },
        default=repr,
    )
    # What is too large for the stream would be cut; it gets its row when it is claimed.
    if len(text) > TEXT_LIMIT:
        return False
    tell(_Told(headers["id"], headers["retries"] or 0), Event.PUBLISHED, text)
    return True


def _request() -> Any:
    """The request of the run that this process executes."""
    task = current_task
    if not task or not isinstance(task._get_current_object(), RunTask):  # noqa: SLF001  # how a proxy is asked
        return None
    return None if task.request.called_directly or not task.request.id else task.request


class _Told:
    """As much of a request as `tell` needs."""

    def __init__(self, run_id: str, retries: int) -> None:
        self.id = run_id
        self.retries = retries
        self.task = ""
        self.hostname = None
