"""Which of Celery's own tasks may be called: the one home of this rule. Imports nothing of ours."""

from __future__ import annotations

_INTERNAL = "celery."
# Celery's beat schedules it by itself, so tables that it or its like have filled have a row of it. It takes no
# arguments and deletes expired results; `celery.map` and the others would call any task.
_CALLABLE = frozenset({"celery.backend_cleanup"})


def is_internal(name: str) -> bool:
    """Whether a task is Celery's own and may be neither launched nor scheduled."""
    return name.startswith(_INTERNAL) and name not in _CALLABLE
