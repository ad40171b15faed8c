"""Where Celery hands a task to us, whatever its base class: its tracer, its replacement, the states it sets by hand.

Celery assigns `task.__trace__` whenever it builds a tracer, in each process of each pool. A data descriptor of that
name on the root of all task classes wraps it: neither a base class of a task's own nor an order of imports gets past
it, and a delivery can be refused before Celery has stored a state, called a hook or sent a signal.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from celery import Celery
from celery.app.task import Task

Trace = Callable[..., Any]


class _Tracer:
    """The attribute `__trace__` of tasks; those of other applications in this process keep their tracer as it is."""

    def __init__(self, app: Celery, execute: Callable[..., Any]) -> None:
        self.app, self._execute = app, execute

    def __get__(self, task: Any, owner: Any = None) -> Trace | None:
        return None if task is None else task.__dict__.get("__trace__")

    def __set__(self, task: Any, trace: Trace | None) -> None:
        if trace is not None and task.app is self.app:
            trace = self._wrapped(task, trace)
        task.__dict__["__trace__"] = trace

    def _wrapped(self, task: Any, trace: Trace) -> Trace:
        execute = self._execute

        def traced(task_id: Any, args: Any, kwargs: Any, request: Any = None) -> Any:
            message = {} if request is None else request
            message |= {"args": args, "kwargs": kwargs}
            return execute(task, lambda: trace(task_id, args, kwargs, message), task_id, message)

        return traced


def install(
    app: Celery,
    execute: Callable[..., Any],
    before_replace: Callable[[Any, Any], None],
    state_set: Callable[[Any, Any, Any], None],
) -> None:
    """Have these called for the tasks of an app, once in a process.

    `execute` in the place of a tracer, with the task, what calls the tracer, the task id and the message;
    `before_replace` with the task and the signature that is about to replace it; `state_set` with the task id, the
    state and its meta.
    """
    tracer = Task.__dict__.get("__trace__")
    if isinstance(tracer, _Tracer):
        tracer.app = app
        return
    Task.__trace__ = _Tracer(app, execute)
    on_replace, update_state = Task.on_replace, Task.update_state

    @wraps(on_replace)
    def replace(self: Any, sig: Any) -> Any:
        before_replace(self, sig)
        return on_replace(self, sig)

    @wraps(update_state)
    def update(self: Any, task_id: Any = None, state: Any = None, meta: Any = None, **more: Any) -> Any:
        state_set(self.request.id if task_id is None else task_id, state, meta)
        return update_state(self, task_id, state, meta, **more)

    Task.on_replace, Task.update_state = replace, update
