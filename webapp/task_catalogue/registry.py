"""The registry of tasks that can be launched or scheduled, with their arguments.

Launching and scheduling amount to running code, so only registered tasks are allowed, and of Celery's own tasks those
in `task_names`. A disabled schedule may keep another name, which is never run. This is not in `webapp.tasks`, because
services need it and must not import tasks.
"""

from __future__ import annotations

import inspect
import logging
import re
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

from celery import Celery, signals
from celery.app.routes import MapRoute

from beatdesk.secrecy.masking import Rule, rule_of
from webapp.config import Settings
from webapp.extensions import celery
from webapp.messaging.celery_config import SERIALIZER
from webapp.task_catalogue.announced import Announced, AnnouncedTasks
from webapp.task_catalogue.task_names import is_internal

logger = logging.getLogger(__name__)

# A line of a docstring's section "Args:": `    num1 (float): The first number.`
_ARGUMENT = re.compile(r"^\s+\*{0,2}(\w+)(?:\s*\([^)]*\))?:\s+(.+)$", re.MULTILINE)
# The same in the older style: `:param float num1: The first number.`
_PARAM = re.compile(r"^\s*:param\s+(?:[^:]*\s)?\*{0,2}(\w+):\s+(.+)$", re.MULTILINE)


# Of how many workers a note names.
NAMED = 3
_ANY_CALL = inspect.signature(lambda *args, **kwargs: None)  # noqa: ARG005
_OWN, _FOR_EVERYONE = "webapp.", "webapp.tasks.sums"


@dataclass(frozen=True, slots=True)
class KnownTask:
    """A registered task. `summary` is its docstring's first line, `hints` its descriptions of arguments.

    `types` are the annotations of arguments as types, without those that cannot be resolved outside their module.
    `announced` is set for a task of another project, of which only the name is known; it takes whatever it is given.
    """

    name: str
    summary: str
    signature: inspect.Signature
    hints: Mapping[str, str] = field(default_factory=dict)
    rule: Rule = field(default_factory=Rule)
    types: Mapping[str, Any] = field(default_factory=dict)
    announced: Announced | None = None

    @property
    def note(self) -> str | None:
        """What to know about how its arguments are sent; None for nearly every task."""
        if self.announced is not None:
            named = ", ".join(self.announced.nodes[:NAMED]) + ("…" if len(self.announced.nodes) > NAMED else "")
            return f"Known by name from {named}. Its arguments are sent as JSON and are not checked."
        return serializer_note(self.name)

    def refuse(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str | None:
        """Why the function does not take these arguments, or None if it does."""
        try:
            self.signature.bind(*args, **kwargs)
        except TypeError as error:
            return f"{self.name} does not take these arguments: {error}."
        return None


def known_tasks() -> dict[str, KnownTask]:
    """All tasks that can be launched or scheduled, by name, in order."""
    # Celery discovers tasks lazily; until now a web process has imported none.
    celery.loader.import_default_modules()
    named = {name: _named(task) for name, task in announced().items()}
    known = named | {name: described(name, task) for name, task in celery.tasks.items()}
    return {name: known[name] for name in sorted(known) if not is_internal(name)}


def find_task(name: str) -> KnownTask | None:
    """One of `known_tasks`, or None."""
    if name not in celery.tasks:
        celery.loader.import_default_modules()
    if is_internal(name):
        return None
    if (task := celery.tasks.get(name)) is not None:
        return described(name, task)
    return None if (other := announced().get(name)) is None else _named(other)


def announced() -> Mapping[str, Announced]:
    """The tasks that workers of other projects have registered, by name."""
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


def _named(task: Announced) -> KnownTask:
    return KnownTask(task.name, "", _ANY_CALL, announced=task)


def is_unknown(name: str) -> bool:
    """Whether a task is not registered. Celery's own tasks are not unknown."""
    return bool(name) and not is_internal(name) and find_task(name) is None


@lru_cache(maxsize=4096)
def described(name: str, task: Any) -> KnownTask:
    """The description of a Celery task by its function, `task.run`; cached, because neither changes."""
    signature, doc = inspect.signature(task.run), inspect.getdoc(task.run) or ""
    summary = doc.partition("\n")[0].strip()
    return KnownTask(name, summary, signature, _hints(doc), rule_of(task), _types(signature, task.run))


def _types(signature: inspect.Signature, function: Any) -> dict[str, Any]:
    """The annotations as types. Those that are text, as their module delays them, are resolved one by one."""
    known = getattr(inspect.unwrap(getattr(function, "__func__", function)), "__globals__", {})
    found: dict[str, Any] = {}
    for name, parameter in signature.parameters.items():
        note = parameter.annotation
        if note is inspect.Parameter.empty:
            continue
        try:
            holder: Any = SimpleNamespace(__annotations__={name: note})
            found[name] = typing.get_type_hints(holder, globalns=known)[name]
        except Exception:  # noqa: BLE001, S112  # evaluating an annotation may raise anything
            continue
    return found


def serializer_note(name: str) -> str | None:
    """That a task asks for another serializer than its messages have; None for nearly every task."""
    declared = getattr(registered_task(name), "serializer", None) or SERIALIZER
    if declared == SERIALIZER:
        return None
    return f"The task declares the serializer “{declared}”. Beatdesk sends its arguments as JSON."


@signals.worker_init.connect
def _warn_of_serializers(sender: Any, **_: Any) -> None:
    for name in sorted(sender.app.tasks):
        if note := serializer_note(name):
            logger.warning("The task %s: %s", name, note)


def is_own(name: str) -> bool:
    """Whether Beatdesk keeps itself going by this task. Where it is defined decides, not its name."""
    module = getattr(registered_task(name), "__module__", None) or ""
    return f"{module}.".startswith(_OWN) and module != _FOR_EVERYONE


def rule_for(name: str) -> Rule:
    """Which arguments of a task are secret; of a task that is not known here those whose names say so."""
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


def _hints(doc: str) -> dict[str, str]:
    """The descriptions of arguments in a docstring, from its section "Args:" or by `:param name:`."""
    _, _, part = doc.partition("\nArgs:\n")
    described = part.partition("\n\n")[0]
    found = [*_PARAM.finditer(doc), *_ARGUMENT.finditer(described)]
    return {match[1]: match[2].strip() for match in found}
