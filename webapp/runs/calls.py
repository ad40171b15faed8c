"""How a call reads in one line, and which form a task's signature makes. Pure functions."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from webapp.registry import KnownTask
from webapp.runs.numbers import number, whole
from webapp.secrecy.masking import MASK, is_secret, masked_value

LINE = 90
_KINDS = {"int": "int", "float": "number", "bool": "bool", "str": "text"}
_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass(frozen=True, slots=True)
class Argument:
    """A field of the form: `kind` is int, number, bool, text or json. `default` is what is passed when it is empty."""

    name: str
    kind: str
    required: bool
    default: str
    hint: str
    secret: bool = False


def line(args: str, kwargs: str, limit: int = LINE) -> str:
    """Arguments from their JSON as `2, 3, user=5`, cut at `limit` characters, secrets masked."""
    given, named = _read(args, []), _read(kwargs, {})
    if not isinstance(given, list) or not isinstance(named, dict):
        text = f"{args} {kwargs}"
    else:
        parts = [_short(value) for value in given]
        parts += [f"{name}={MASK if is_secret(name) else _short(value)}" for name, value in named.items()]
        text = ", ".join(parts)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _short(value: Any) -> str:
    return json.dumps(masked_value(value), ensure_ascii=False)


def _read(text: str, default: Any) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return default


def names_by_position(task: KnownTask | None) -> list[str]:
    """The names of the arguments that a task takes by position."""
    parameters = task.signature.parameters.values() if task else ()
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [parameter.name for parameter in parameters if parameter.kind in kinds]


def arguments_of(task: KnownTask) -> list[Argument] | None:
    """The fields for a task's arguments; None when its signature has some that no form has a name for."""
    if any(parameter.kind not in _BY_NAME for parameter in task.signature.parameters.values()):
        return None
    return [_argument(parameter, task) for parameter in task.signature.parameters.values()]


def _argument(parameter: inspect.Parameter, task: KnownTask) -> Argument:
    annotation = parameter.annotation
    named = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))
    kind = _KINDS.get(re.sub(r"\s*\|\s*None$|^Optional\[(.*)\]$", r"\1", named), "json")
    required = parameter.default is inspect.Parameter.empty
    default = "" if required else _text(parameter.default)
    secret = task.rule.hides(parameter.name)
    return Argument(
        parameter.name,
        kind,
        required,
        MASK if secret and default else default,
        task.hints.get(parameter.name, ""),
        secret,
    )


def _text(value: Any) -> str:
    try:
        return json.dumps(value)
    except TypeError:
        return repr(value)


def as_fields(task: KnownTask, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, str] | None:
    """What stands in the form's fields for a call; None when it does not fit the form."""
    fields = arguments_of(task)
    if fields is None or task.refuse(args, kwargs):
        return None
    given = task.signature.bind(*args, **kwargs).arguments
    kinds = {field.name: field.kind for field in fields}
    # What is masked has to be typed again.
    return {name: "" if value == MASK else _typed(value, kinds[name]) for name, value in given.items()}


def _typed(value: Any, kind: str) -> str:
    return value if kind == "text" and isinstance(value, str) else json.dumps(value)


def read_argument(argument: Argument, text: str) -> Any:
    """What was typed as the value that the kind asks for. Raises ValueError with a sentence."""
    if argument.kind == "text":
        return text
    if argument.kind in ("int", "number") and text.strip() != "null":
        return whole(text) if argument.kind == "int" else number(text)
    if argument.kind == "bool" and text.strip() in ("true", "false"):
        return text.strip() == "true"
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError('This is not JSON. Texts need quotes: "like this".') from None
