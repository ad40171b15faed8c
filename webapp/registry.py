"""Which tasks may be launched or scheduled, and what they take.

Launching and scheduling are equal to running code, so only what is registered can be named; Celery's own `celery.*`
tasks never. This lies outside `webapp.tasks` because services need it and may not import tasks.
"""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from webapp.extensions import celery
from webapp.secrecy.masking import Rule, rule_of

logger = logging.getLogger(__name__)

# A line of a docstring's part "Args:": `    num1 (float): The first number.`
_ARGUMENT = re.compile(r"^\s+\*{0,2}(\w+)(?:\s*\([^)]*\))?:\s+(.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class KnownTask:
    """A registered task: its name, its docstring's first line and words on arguments, its signature, what is secret."""

    name: str
    summary: str
    signature: inspect.Signature
    hints: Mapping[str, str] = field(default_factory=dict)
    rule: Rule = field(default_factory=Rule)

    def refuse(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str | None:
        """Why the function would not take these arguments, or None when it would."""
        try:
            self.signature.bind(*args, **kwargs)
        except TypeError as error:
            return f"{self.name} does not take these arguments: {error}."
        return None


def known_tasks() -> dict[str, KnownTask]:
    """Every task that may be launched or scheduled, by name, in order."""
    # Discovery is lazy in Celery; a web process has not imported any task before it first needs the list.
    celery.loader.import_default_modules()
    return {
        name: KnownTask(name, _summary(task), inspect.signature(task.run), _hints(task), rule_of(task))
        for name, task in sorted(celery.tasks.items())
        if not name.startswith("celery.")
    }


def find_task(name: str) -> KnownTask | None:
    """One of `known_tasks`, or None."""
    return known_tasks().get(name)


def rule_for(name: str) -> Rule:
    """Which arguments of a task are secret; of a task that is not known here those whose names say so."""
    if name not in celery.tasks:
        try:
            celery.loader.import_default_modules()
        except Exception:
            # What is broken in somebody's module must not keep us from registering a person.
            logger.exception("the tasks cannot be imported")
    return rule_of(celery.tasks.get(name))


def _summary(task: Any) -> str:
    doc = inspect.getdoc(task.run) or ""
    return doc.partition("\n")[0].strip()


def _hints(task: Any) -> dict[str, str]:
    """What the docstring's part "Args:" says of each argument."""
    doc = inspect.getdoc(task.run) or ""
    _, _, part = doc.partition("\nArgs:\n")
    described = part.partition("\n\n")[0]
    return {match[1]: match[2].strip() for match in _ARGUMENT.finditer(described)}
