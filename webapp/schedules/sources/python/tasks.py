"""Determines the task and the arguments of an entry of a `beat_schedule` in Python source."""

from __future__ import annotations

from typing import Any

from celery.canvas import Signature

from webapp.schedules.sources.python.module import Module
from webapp.schedules.sources.python.values import RUN_IT, Table, TaskPath, Unknown, Unreadable, unread
from webapp.task_catalogue.registry import known_tasks


def entry_values(module: Module, key: Any, value: Any) -> tuple[str, Any, list[str]]:
    """The name of an entry, its plain values, and notes on it. Raises Unreadable."""
    if not isinstance(value, Table):
        return str(key), module.plain_values.value(value), []
    called = value.read("sig")
    if isinstance(called, Unknown):
        raise Unreadable(called.line, called.why)
    task = called if isinstance(called, TaskPath) else value.read("task")
    if isinstance(called, Signature):
        task = called["task"]
    elif isinstance(task, TaskPath) and task is not called and not task.is_name:
        raise Unreadable(value.line, unread(task.path))
    name, notes = _task_name(task, value.line) if isinstance(task, TaskPath) else (task, [])
    plain = Table(module.budget, value.line)
    plain.add_all(value)
    plain.slots.pop("sig", None)
    if isinstance(task, TaskPath | str):
        plain.write("task", name, value.line)
    values = module.plain_values.value(plain)
    if "sig" not in value.slots:
        return str(key), values, notes
    return *_called(called, values, value.line), notes


def _called(called: Any, values: dict[str, Any], line: int) -> tuple[str, dict[str, Any]]:
    """The name and the entry that Celery's `add_periodic_task` would create from its arguments."""
    if not isinstance(called, Signature | TaskPath):
        raise Unreadable(line, "Use a task with its arguments, such as “send.s(1)”")
    try:
        made = Signature(values["task"]) if isinstance(called, TaskPath) else called.clone()
        made["task"] = values["task"]
        made = made.clone(values.get("args"), values.get("kwargs"))
        options = {**made.options, **values["options"]}
        name = values.get("name") or repr(made)
    except (TypeError, ValueError) as error:
        raise Unreadable(line, f"add_periodic_task: {error}") from error
    return str(name), {
        "task": values["task"],
        "schedule": values.get("schedule"),
        "args": [*made.args],
        "kwargs": dict(made.kwargs),
        "options": options,
    }


def _task_name(task: TaskPath, line: int) -> tuple[str, list[str]]:
    """The name of a task in Celery: its explicit name, else that of its module and function. Raises Unreadable."""
    module, _, function = task.path.rpartition(".")
    known = known_tasks()
    if task.named or task.path in known:
        return task.path, []
    if module and not task.path.startswith("."):
        return task.path, [f"The task is taken to be “{task.path}”, after where it is imported from."]
    alike = [name for name in known if name.rpartition(".")[2] == function]
    if len(alike) == 1:
        return alike[0], [f"“{function}” is taken to be the task “{alike[0]}”, the only one with that name."]
    raise Unreadable(line, f"The name of the task “{function}” cannot be read without running it; {RUN_IT}")
