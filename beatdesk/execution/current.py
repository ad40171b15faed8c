"""The run that the current thread or greenlet executes."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(slots=True, eq=False)
class Execution:
    """A run in the hands of a worker, by the names that Celery's requests have.

    `id` is the run's, `task_id` the message's. `state_set` is the state that the task set by hand last, with its meta;
    `failure` the first exception that Celery stored; `replaced` says that the task replaced itself. `sending_at` is
    when it began to send the message that is being published. `claim` and `over` are those of `host.Claimed`.
    """

    id: str
    task_id: str
    task: str
    retries: int
    hostname: str
    beatdesk_received: float | None = None
    began: float = 0.0
    state_set: tuple[str, Any] | None = None
    failure: BaseException | None = None
    replaced: bool = False
    reported: Any = None
    sending_at: datetime | None = None
    claim: str = ""
    over: tuple[Any, ...] = ()


_current: ContextVar[Execution | None] = ContextVar("beatdesk_execution", default=None)
set_current = _current.set
reset_current = _current.reset


def current() -> Execution | None:
    """The run at hand; None outside of one, and in threads that a task has started by itself."""
    return _current.get()


def current_of(task_id: object) -> Execution | None:
    """The same, where its message has this id."""
    execution = _current.get()
    return execution if execution is not None and execution.task_id == task_id else None
