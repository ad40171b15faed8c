"""The registry of tasks that can be launched or scheduled, with their arguments.

Launching and scheduling amount to running code, so only registered tasks are allowed, and of Celery's own tasks those
in `task_names`. A disabled schedule may keep another name, which is never run. This is not in `webapp.tasks`, because
services need it and must not import tasks.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from celery import Celery, signals
from celery.app.routes import MapRoute

from beatdesk import announcing
from beatdesk.secrecy.masking import Rule, rule_of
from webapp.config import Settings
from webapp.extensions import celery
from webapp.task_catalogue.announced import AnnouncedTasks
from webapp.task_catalogue.known_task import KnownTask, from_description
from webapp.task_catalogue.task_names import is_internal

logger = logging.getLogger(__name__)

_OWN, _FOR_EVERYONE = "webapp.", "webapp.tasks.sums"


def known_tasks() -> dict[str, KnownTask]:
    """All tasks that can be launched or scheduled, by name, in order."""
    # Celery discovers tasks lazily; until now a web process has imported none.
    celery.loader.import_default_modules()
    known = {**announced()} | {name: described(name, task) for name, task in celery.tasks.items()}
    return {name: known[name] for name in sorted(known) if not is_internal(name)}


def find_task(name: str) -> KnownTask | None:
    """One of `known_tasks`, or None."""
    if name not in celery.tasks:
        celery.loader.import_default_modules()
    if is_internal(name):
        return None
    if (task := celery.tasks.get(name)) is not None:
        return described(name, task)
    return announced().get(name)


def announced() -> Mapping[str, KnownTask]:
    """The tasks that other workers have announced or registered, by name; some may be imported here as well."""
    return _announced_tasks().current()


def forget_announced() -> None:
    """Have this process read them again when it needs them next."""
    _announced_tasks().forget()


def _announced_tasks() -> AnnouncedTasks:
    found: AnnouncedTasks = celery.flask_app.extensions["announced_tasks"]
    return found


def route(name: str, *_: Any, **__: Any) -> dict[str, Any] | None:
    """For Celery's router: a task that only another project's workers have goes where its routes say, or to them."""
    known = None if name in celery.tasks else announced().get(name)
    if known is None:
        return None
    settings: Settings = celery.flask_app.extensions["settings"]
    found: dict[str, Any] | None = MapRoute(settings.project.task_routes)(name)
    return found or (None if known.queue is None else {"queue": known.queue})


def is_unknown(name: str) -> bool:
    """Whether a task is not registered. Celery's own tasks are not unknown."""
    return bool(name) and not is_internal(name) and find_task(name) is None


@lru_cache(maxsize=4096)
def described(name: str, task: Any) -> KnownTask:
    """The description of a Celery task that is imported here; cached, because it does not change."""
    return from_description(name, announcing.described(celery, name, task, announcing.general_limits(celery)))


def call_note(name: str) -> str | None:
    """What to know about how a task's arguments are sent; None for nearly every task."""
    return None if (task := find_task(name)) is None else task.note


@signals.worker_init.connect
def _warn_of_serializers(sender: Any, **_: Any) -> None:
    for name in sorted(sender.app.tasks):
        if note := call_note(name):
            logger.warning("The task %s: %s", name, note)


def is_own(name: str) -> bool:
    """Whether Beatdesk keeps itself going by this task. Where it is defined decides, not its name."""
    module = getattr(registered_task(name), "__module__", None) or ""
    return f"{module}.".startswith(_OWN) and module != _FOR_EVERYONE


def rule_for(name: str) -> Rule:
    """Which arguments of a task are secret; of a task that is not known those whose names say so."""
    if name not in celery.tasks and (other := announced().get(name)) is not None:
        return other.rule
    return rule_of(registered_task(name))


def registered_task(name: str, app: Celery = celery) -> Any:
    """The registered task, or None. A web process has imported no tasks before it first needs one."""
    if name not in app.tasks:
        try:
            app.loader.import_default_modules()
        except Exception:
            # A broken module of the project concerns no other task, and must not keep us from registering a person.
            logger.exception("the tasks cannot be imported")
    return app.tasks.get(name)
