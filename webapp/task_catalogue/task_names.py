"""The rule for Celery's own tasks: which of them can be called. Imports nothing of ours."""

from __future__ import annotations

_INTERNAL = "celery."
# Celery's beat schedules it by itself, so that tables of other schedulers have a row of it. It takes no arguments and
# deletes expired results; `celery.map` and the others could call any task.
_CALLABLE = frozenset({"celery.backend_cleanup"})


def is_internal(name: str) -> bool:
    """Whether a task is one of Celery's own that can be neither launched nor scheduled."""
    return name.startswith(_INTERNAL) and name not in _CALLABLE
