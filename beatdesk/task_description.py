"""Describes a Celery task in JSON: its docstring, parameters, limits and secrets. Pure functions.

What JSON cannot say is left out: an unknown type is one that takes any value, a default that is no JSON is its text.
"""

from __future__ import annotations

import inspect
import json
import re
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from celery import Task

from beatdesk.encoding import shortened
from beatdesk.secrecy.masking import Rule, masked_value, names_of
from beatdesk.secrecy.text import MASK, hide

# Characters of a docstring's first paragraph, of a parameter's description, and of a default.
MAX_DOC, MAX_HINT, MAX_DEFAULT = 1_000, 300, 1_000
# Deeper types, which no form shows, take any value.
MAX_TYPE_DEPTH = 5
# What types are called. A type that is not here, and is not made of these, is None: any value.
TYPE_NAMES: dict[Any, str] = {
    bool: "bool", int: "int", float: "float", str: "str", type(None): "null", datetime: "datetime", date: "date",
    time: "time", Decimal: "decimal", UUID: "uuid",
}  # fmt: skip
LISTS = (list, tuple, set, frozenset, Sequence, Iterable)
OBJECTS = (dict, Mapping)
UNIONS = (typing.Union, types.UnionType)
# A task's own settings that are announced as they are.
SETTINGS = ("time_limit", "soft_time_limit", "rate_limit", "acks_late", "max_retries", "serializer")

# A line of a docstring's section "Args:": `    num1 (float): The first number.`
_ARGUMENT = re.compile(r"^\s+\*{0,2}(\w+)(?:\s*\([^)]*\))?:\s+(.+)$", re.MULTILINE)
# The same in the older style: `:param float num1: The first number.`
_PARAM = re.compile(r"^\s*:param\s+(?:[^:]*\s)?\*{0,2}(\w+):\s+(.+)$", re.MULTILINE)
_INHERITED_DOC = inspect.getdoc(Task.run)


def describe(task: Any) -> dict[str, Any]:
    """The description of a task. `parameters` is missing where the function's signature cannot be read."""
    doc = _doc(task)
    described: dict[str, Any] = {"doc": shortened(doc.partition("\n\n")[0].strip(), MAX_DOC)}
    try:
        signature = inspect.signature(task.run)
    except (ValueError, TypeError):
        pass
    else:
        described["parameters"] = _parameters(task, signature, _hints(doc))
    settings = {name: getattr(task, name, None) for name in SETTINGS}
    described |= {name: value for name, value in settings.items() if isinstance(value, str | int | float)}
    if names := names_of(task):
        described["secrets"] = sorted(map(str, names))
    return described


def _doc(task: Any) -> str:
    """The docstring of the function, or that of the class for a task that is written as one."""
    doc = inspect.getdoc(task.run)
    return inspect.cleandoc(task.__doc__ or "") if doc in (None, _INHERITED_DOC) else str(doc)


def _hints(doc: str) -> dict[str, str]:
    """The descriptions of arguments in a docstring, from its section "Args:" or by `:param name:`."""
    _, _, part = doc.partition("\nArgs:\n")
    found = [*_PARAM.finditer(doc), *_ARGUMENT.finditer(part.partition("\n\n")[0])]
    return {match[1]: match[2].strip() for match in found}


def _parameters(task: Any, signature: inspect.Signature, hints: Mapping[str, str]) -> list[dict[str, Any]]:
    resolved, rule, found = _annotations(signature, task.run), Rule(names_of(task)), []
    for name, parameter in signature.parameters.items():
        one: dict[str, Any] = {"name": name, "kind": parameter.kind.name.lower()}
        if parameter.default is not parameter.empty:
            one |= {"default_text": MASK} if rule.hides(name) and parameter.default else _default(parameter.default)
        if name in resolved:
            one["type"] = type_of(resolved[name])
        if name in hints:
            one["hint"] = shortened(hints[name], MAX_HINT)
        found.append(one)
    return found


def _default(value: Any) -> dict[str, Any]:
    """A default as a JSON value, or as the text of what is none or holds a secret."""
    value = value.value if isinstance(value, Enum) else value
    if value is None or isinstance(value, int):
        return {"default": value}
    try:
        text = json.dumps(value, allow_nan=False)
        if len(text) <= MAX_DEFAULT and masked_value(again := json.loads(text)) == again:
            return {"default": again}
    except (TypeError, ValueError, RecursionError):
        pass
    try:
        return {"default_text": shortened(hide(repr(value)), MAX_DEFAULT)}
    except Exception:  # noqa: BLE001  # another program's `__repr__` may raise anything
        return {"default_text": type(value).__name__}


def _annotations(signature: inspect.Signature, function: Any) -> dict[str, Any]:
    """The annotations as types. Those that are text, as their module delays them, are resolved one by one."""
    known = getattr(inspect.unwrap(getattr(function, "__func__", function)), "__globals__", {})
    found: dict[str, Any] = {}
    for name, parameter in signature.parameters.items():
        note = parameter.annotation
        if note is parameter.empty:
            continue
        if type(note) is type:
            found[name] = note
            continue
        try:
            holder: Any = SimpleNamespace(__annotations__={name: note})
            found[name] = typing.get_type_hints(holder, globalns=known)[name]
        except Exception:  # noqa: BLE001, S112  # evaluating an annotation may raise anything
            continue
    return found


def type_of(note: Any, depth: int = 0) -> Any:
    """A type in JSON: a name of `TYPE_NAMES`, or a list of what it is made of. None: it takes any value.

    `["list", EACH]`, `["object", EACH]`, `["union", ONE, OTHER, …]`, `["literal", VALUE, …]`,
    `["enum", NAME, [MEMBER, VALUE], …]`.
    """
    if type(note) is type and note in TYPE_NAMES:
        return TYPE_NAMES[note]
    origin, members = typing.get_origin(note) or note, typing.get_args(note)
    if depth <= MAX_TYPE_DEPTH and (origin in LISTS or origin in OBJECTS or origin in UNIONS):
        return _made_of(origin, members, depth + 1)
    if origin is typing.Literal:
        values = [member.value if isinstance(member, Enum) else member for member in members]
        return ["literal", *values] if all(map(_is_plain, values)) else None
    if isinstance(origin, type) and issubclass(origin, Enum):
        named = [[member.name, member.value] for member in origin]
        return ["enum", origin.__name__, *named] if all(_is_plain(value) for _, value in named) else None
    return None


def _made_of(origin: Any, members: tuple[Any, ...], depth: int) -> list[Any]:
    if origin in LISTS:
        alike = len(members) == 1 or members[1:] == (...,)
        return ["list", type_of(members[0], depth) if alike else None]
    if origin in OBJECTS:
        return ["object", type_of(members[1], depth) if len(members) == 2 else None]
    return ["union", *(type_of(member, depth) for member in members)]


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float)
