"""Time limits of runs: those of the task, else the worker's defaults.

Celery mixes both: its settings fill in each limit that a task does not set, in the sender, the worker and the pool.
A task with a hard limit of an hour would be ended by the default soft limit; one with a hard limit of two seconds would
go on until the default soft limit, because prefork counts towards the hard limit from the soft one on.

Here Celery's settings `task_time_limit` and `task_soft_time_limit`, and the worker's options of these names, apply to
runs for which neither the task nor the sender has set a limit. Prefork enforces both limits, gevent the hard one;
threads, eventlet and solo enforce none.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from celery import Task, bootsteps

_NAMES = ("time_limit", "soft_time_limit")

# Tasks must not take over the settings: their attributes then show which limits were set, including `None`.
Task.from_config = tuple(pair for pair in Task.from_config if pair[0] not in _NAMES)


class Limits(NamedTuple):
    """Seconds until the process of a run is killed, and until SoftTimeLimitExceeded is raised in it; None: never."""

    hard: float | None = None
    soft: float | None = None


def limits_of(task: Any, message: Any, default: Limits) -> Limits:
    """The limits of a run. Each is the message's, else the task's; the default only where neither has set any.

    `message` is the header "timelimit": hard and soft. In what is set, None, 0 and less mean no limit.
    """
    sent = Limits(*message) if message else Limits()
    if sent == (None, None) and not _has_limits(task):
        return default
    own = (getattr(task, name, None) if value is None else value for name, value in zip(_NAMES, sent, strict=True))
    hard, soft = (value if value and value > 0 else None for value in own)
    # With prefork a hard limit counts from the soft one on.
    return Limits(hard, None if hard and soft and hard <= soft else soft)


def _has_limits(task: Any) -> bool:
    """Whether the task, its class or a base has set a limit; Celery's own `Task` declares both as None."""
    places = [vars(task), *(vars(cls) for cls in type(task).__mro__ if cls is not Task)]
    return any(name in place for place in places for name in _NAMES)


class DefaultLimits(bootsteps.Step):
    """Takes the default limits away from the worker's pool, and passes it the limits of each run."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **_: Any) -> None:
        # Steps are made before the first one, the pool, is created of the worker's attributes.
        self.default = Limits(worker.time_limit or None, worker.soft_time_limit or None)
        worker.time_limit = worker.soft_time_limit = None

    def create(self, worker: Any) -> None:
        """Add the limits where every run passes, whatever its task's base class, request class or pool."""
        apply_async = worker.pool.apply_async

        def with_limits(target: Any, args: Any = (), kwargs: Any = None, **options: Any) -> Any:
            name, _, request, *_ = args
            limits = limits_of(worker.app.tasks[name], request.get("timelimit"), self.default)
            return apply_async(target, args, kwargs, **options | {"timeout": limits.hard, "soft_timeout": limits.soft})

        worker.pool.apply_async = with_limits
