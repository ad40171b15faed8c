"""The qualifier `args.user:5`: whether a run has an argument, by name or position, in its stored JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from beatdesk.encoding import parse_json
from webapp.task_catalogue.registry import known_tasks


def matcher(arguments: tuple[tuple[str, str], ...]) -> Callable[[Any], bool]:
    """A predicate for rows with `task`, `args` and `kwargs`; true when every argument has its value."""
    positions = {name: tuple(task.signature.parameters) for name, task in known_tasks().items()}

    def matches(row: Any) -> bool:
        args, kwargs = parse_json(row.args, []), parse_json(row.kwargs, {})
        names = positions.get(row.task, ())
        return all(_has_argument(args, kwargs, names, name, value) for name, value in arguments)

    return matches


def _has_argument(args: Any, kwargs: Any, names: tuple[str, ...], name: str, value: str) -> bool:
    first, *deeper = name.split(".")
    if isinstance(kwargs, dict) and first in kwargs:
        found = kwargs[first]
    elif isinstance(args, list) and (place := _position_of(first, names)) is not None and place < len(args):
        found = args[place]
    else:
        return False
    for step in deeper:
        if not isinstance(found, dict) or step not in found:
            return False
        found = found[step]
    return found == value or json.dumps(found) == value


def _position_of(name: str, names: tuple[str, ...]) -> int | None:
    if name.isascii() and name.isdigit() and len(name) < 4:
        return int(name)
    return names.index(name) if name in names else None
