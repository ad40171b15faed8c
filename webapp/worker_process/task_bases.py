"""The task class of a project whose modules `TASK_MODULES` names: its tasks keep it in our worker.

A project that has a Celery app of its own gives it a class for tasks, which Flask's documentation uses to enter the
application's context. A shared task belongs to every app, here to ours, whose class knows nothing of that. So each
shared task of a package gets the class of the app that the same package made, in front of ours.
"""

from __future__ import annotations

from typing import Any

from celery import Celery, Task, signals
from celery._state import _get_active_apps
from celery.utils.imports import symbol_by_name

from beatdesk.execution.run_task import RunTask
from webapp.extensions import celery


@signals.celeryd_after_setup.connect
def use_task_classes(**_: Any) -> None:
    """Give shared tasks their project's task class; at the start of a worker, before anything is traced."""
    classes = {_package(cls): cls for app in list(_get_active_apps()) if (cls := _task_class(app)) is not None}
    for task in celery.tasks.values():
        base = classes.get(_package(type(task)))
        # A base of the task's own stays as it is.
        if base is not None and type(task).__call__ is RunTask.__call__ and not isinstance(task, base):
            task.__class__ = _before(base, type(task))


def _task_class(app: Celery) -> type[Task] | None:
    """The class that another app of this process gives its tasks; None if it is Celery's own."""
    found = symbol_by_name(app.task_cls)
    return None if app is celery or found is Task else found


def _package(cls: type) -> str:
    return cls.__module__.partition(".")[0]


def _before(base: type[Task], cls: type[Task]) -> type[Task]:
    """The class of a task with another base in front of those that it has."""
    own = {name: value for name, value in vars(cls).items() if name not in ("__dict__", "__weakref__")}
    return type(cls.__name__, (base, *cls.__bases__), own)
