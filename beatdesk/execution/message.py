"""Reads a Celery message: which run it belongs to, and the values of that run's row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from beatdesk.execution.canvas import options_of
from beatdesk.execution.host import rule_for
from beatdesk.execution.ids import had_row, id_of_task, is_run_id
from beatdesk.secrecy.masking import conceal

# The run that a message is of, where its task id does not say so: what other programs send has ids of their choice.
RUN_HEADER = "beatdesk_run"
# Whether the message of an attempt may be a further one, or a person asked for it: "again 0 0" with the attempt and the
# number of replacements that this is true of, because headers go along with retries.
SENDING_HEADER = "beatdesk_sending"
# In the headers that the signals of publishing see: why the broker did not take the message. Not in the message itself.
UNDELIVERED_HEADER = "beatdesk_undelivered"


def run_of_message(headers: Mapping[str, Any]) -> str | None:
    """The run that a message was sent for; None for one that another program sent."""
    given, task_id = headers.get(RUN_HEADER), headers.get("id")
    if is_run_id(given):
        return str(given)
    return task_id if isinstance(task_id, str) and had_row(task_id) else None


def row_of_message(task: str, body: Sequence[Any], headers: Mapping[str, Any], queue: str | None) -> dict[str, Any]:
    """The values of the row of a message that has none yet, as JSON, secrets concealed."""
    args, kwargs, embedded = body
    call = conceal(rule_for(task), args or (), kwargs or {})
    return {
        "task": task,
        "args": call.args,
        "kwargs": call.kwargs,
        "sealed": call.sealed(),
        "queue": queue,
        "options": options_of(embedded, headers),
        "group_index": headers.get("group_index"),
        "eta": headers.get("eta"),
        "expires_at": headers.get("expires"),
        **relatives_of(headers),
    }


def relatives_of(headers: Mapping[str, Any]) -> dict[str, str | None]:
    """The ids of the runs, and of the group, that a message is related to."""
    given = {"parent_id": headers.get("parent_id"), "root_id": headers.get("root_id"), "group_id": headers.get("group")}
    return {name: id_of_task(each) if isinstance(each, str) else None for name, each in given.items()}
