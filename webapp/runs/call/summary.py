"""How a call reads in one line. Pure functions."""

from __future__ import annotations

import inspect
import json
from typing import Any

from beatdesk.secrecy.masking import masked_value
from beatdesk.secrecy.names import is_secret
from beatdesk.secrecy.text import MASK
from webapp.messaging.celery_config import DEFAULT_QUEUE
from webapp.recurrence.words import duration_text
from webapp.task_catalogue.known_task import KnownTask

LINE = 90
_ENVELOPE = {"__type__", "__value__"}


def line(args: str, kwargs: str, limit: int = LINE) -> str:
    """Arguments from their JSON as `2, 3, user=5`, cut at `limit` characters, secrets masked."""
    try:
        text = _summary(json.loads(args), json.loads(kwargs))
    except (ValueError, TypeError, RecursionError):
        # What is no call, or is nested too deep to be walked through.
        text = f"{args} {kwargs}"
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _summary(args: Any, kwargs: Any) -> str:
    if not isinstance(args, list) or not isinstance(kwargs, dict):
        raise TypeError("no call")
    parts = [_short(value) for value in args]
    parts += [f"{name}={MASK if is_secret(name) else _short(value)}" for name, value in kwargs.items()]
    return ", ".join(parts)


def _short(value: Any) -> str:
    return json.dumps(_plain(masked_value(value)), ensure_ascii=False)


def _plain(value: Any) -> Any:
    value = unwrapped(value)
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list) else value


def unwrapped(value: Any) -> Any:
    """The content of Celery's JSON envelope, such as the text of a date or a UUID; any other value unchanged."""
    content = value["__value__"] if isinstance(value, dict) and value.keys() == _ENVELOPE else value
    return content["hex"] if content is not value and isinstance(content, dict) and "hex" in content else content


def names_by_position(task: KnownTask | None) -> list[str]:
    """The names of the arguments that a task takes by position."""
    parameters = task.signature.parameters.values() if task else ()
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [parameter.name for parameter in parameters if parameter.kind in kinds]


def settings_of(task: KnownTask | None) -> list[str]:
    """What a task's own settings say about its runs, in words: queue, limits, and when its message is acknowledged."""
    if task is None:
        return []
    given = task.settings
    words = [f"Queue {task.queue}"] if task.queue not in (None, DEFAULT_QUEUE) else []
    for name, label in (("time_limit", "Time limit"), ("soft_time_limit", "Soft time limit")):
        if isinstance(given.get(name), int | float):
            words.append(f"{label} {duration_text(given[name])}")
    if given.get("rate_limit"):
        words.append(f"Rate limit {given['rate_limit']} on each worker")
    if task.nodes and given.get("acks_late") is True:
        words.append("Acknowledged when it has ended")
    return words
