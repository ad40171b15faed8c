"""One argument of a task as a field: the kind that its annotation makes, and how its text is read. Pure functions.

What JSON cannot say (dates, decimals, UUIDs) is written the way Celery's JSON serializer writes it, so that the task
receives the type that it asks for.
"""

from __future__ import annotations

import inspect
import json
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from enum import Enum
from functools import reduce
from operator import or_
from typing import Any
from uuid import UUID

from kombu.utils import json as kombu_json

from beatdesk.encoding import decode_json, shortened
from beatdesk.secrecy.masking import Opened, masked_value
from beatdesk.secrecy.text import MASK, is_concealed
from webapp.runs.call.numbers import number, whole
from webapp.task_catalogue.known_task import KnownTask

_KINDS: dict[Any, str] = {
    bool: "bool", int: "int", float: "number", str: "text",
    datetime: "datetime", date: "date", time: "time", Decimal: "decimal", UUID: "uuid",
}  # fmt: skip
# The kinds that Celery's JSON puts into an envelope: how the text becomes the envelope's value.
_ENVELOPES: dict[str, tuple[Callable[[str], Any], str]] = {
    "datetime": (lambda text: datetime.fromisoformat(text).isoformat(), "a date and time, such as 2027-10-30T22:00"),
    "date": (lambda text: date.fromisoformat(text).isoformat(), "a date, such as 2027-10-30"),
    "time": (lambda text: time.fromisoformat(text).isoformat(), "a time, such as 22:00"),
    "decimal": (lambda text: str(Decimal(text)), "a number, such as 9.95"),
    "uuid": (lambda text: {"hex": UUID(text).hex}, "a UUID"),
}
_PICKED = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})?T?([0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,3})?)?)?")
_LISTS = (list, tuple, set, frozenset, Sequence, Iterable)
_OBJECTS = (dict, Mapping)
_PLAIN: dict[Any, str] = {
    bool: "true or false", int: "a whole number", float: "a number", str: "a text", type(None): "null",
    datetime: 'a date and time, such as {"__type__": "datetime", "__value__": "2027-10-30T22:00"},',
    date: 'a date, such as {"__type__": "date", "__value__": "2027-10-30"},',
    time: 'a time, such as {"__type__": "time", "__value__": "22:00"},',
    Decimal: 'a decimal, such as {"__type__": "decimal", "__value__": "9.95"},',
    UUID: 'a UUID, such as {"__type__": "uuid", "__value__": {"hex": "0f8fad5bd9cb469fa16570867728950e"}},',
}  # fmt: skip
# How much of a value an error repeats.
MAX_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Argument:
    """A field of the form.

    `kind` is bool, int, number, text, choice, datetime, date, time, decimal, uuid or json. `default` is what the task
    takes when the field is empty, as text. `spread` is * or ** for an argument that takes all that is left.
    `choices` are pairs of what is sent and what is shown; `note` is the annotation without its None. What stands in a
    secret one is never shown again.
    """

    name: str
    kind: str
    required: bool
    default: str
    hint: str
    spread: str = ""
    choices: tuple[tuple[str, str], ...] = ()
    nullable: bool = False
    note: Any = Any
    secret: bool = False

    def input_type(self, text: str) -> str:
        """The input for a moment: a picker, or text for what no picker can show, such as a time with an offset."""
        return {"datetime": "datetime-local"}.get(self.kind, self.kind) if _PICKED.fullmatch(text) else "text"


def argument(parameter: inspect.Parameter, task: KnownTask) -> Argument:
    """The field for one parameter of a task's function."""
    required = parameter.default is inspect.Parameter.empty
    hint = task.hints.get(parameter.name, "")
    if parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
        each = task.types.get(parameter.name, Any)
        spread, note = (
            ("*", types.GenericAlias(list, (each,)))
            if parameter.kind is parameter.VAR_POSITIONAL
            else ("**", types.GenericAlias(dict, (str, each)))
        )
        return Argument(parameter.name, "json", False, "nothing", hint, spread, note=note)
    note, nullable = _without_none(task.types.get(parameter.name, _guessed(parameter)))
    nullable = nullable or parameter.default is None
    choices = _choices(note)
    if choices and nullable and parameter.default is not None:
        choices = (*choices, ("null", "none"))
    kind = "choice" if choices else _KINDS.get(note, "json") if isinstance(note, type) else "json"
    default = "" if required else _text(parameter.default)
    secret = task.rule.hides(parameter.name)
    if secret and default:
        default = MASK
    return Argument(parameter.name, kind, required, default, hint, "", choices, nullable, note, secret)


def read_argument(argument: Argument, text: str) -> Any:
    """What was typed as the value that the task is sent. Raises ValueError with a sentence."""
    kind, stripped = argument.kind, text.strip()
    if kind == "text" or (argument.secret and is_concealed(stripped)):
        return text
    if argument.nullable and stripped == "null":
        return None
    if kind in ("int", "number"):
        return whole(text) if kind == "int" else number(text)
    if kind in ("bool", "choice"):
        return _chosen(argument, stripped)
    if kind in _ENVELOPES:
        return _enveloped(kind, stripped)
    value = read_json(text)
    if problem := _misfit(_decoded(value), argument.note):
        raise ValueError(f"{problem} is required.")
    return value


def call_faults(task: KnownTask, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong with a call in JSON, at `args` or `kwargs`: empty for one that the task's fields could say too.

    What JSON has no type for stands in the envelopes of Celery's JSON serializer.
    """
    if reason := task.refuse(args, kwargs):
        return {"kwargs" if kwargs and not args else "args": reason}
    faults: dict[str, list[str]] = {}
    for name, value in task.signature.bind(*args, **kwargs).arguments.items():
        one = argument(task.signature.parameters[name], task)
        given = list(value) if one.spread == "*" else value
        if reason := _fault(one, given):
            faults.setdefault("kwargs" if name in kwargs or one.spread == "**" else "args", []).append(reason)
    return {field: " ".join(reasons) for field, reasons in faults.items()}


def _fault(argument: Argument, value: Any) -> str:
    """What is wrong with one argument, as a sentence that names it, says what is needed, and what was given."""
    if (value is None and argument.nullable) or _is_hidden(value):
        return ""
    try:
        problem = _problem(argument, value)
    except ValueError as error:
        problem = str(error)
    if not problem:
        return ""
    shown = MASK if argument.secret else json.dumps(masked_value(value), ensure_ascii=False)
    return f"“{argument.name}”: {problem} Given: {shortened(shown, MAX_SHOWN)}."


def _problem(argument: Argument, value: Any) -> str:
    decoded = _decoded(value)
    if argument.choices and json.dumps(value) not in dict(argument.choices):
        return f"Choose one of: {', '.join(text for text, _ in argument.choices)}."
    if needed := _misfit(decoded, argument.note):
        return f"{needed} is required."
    if argument.kind in ("int", "number"):
        number(decoded)
    return ""


def _decoded(value: Any) -> Any:
    """The value as the task receives it. Raises ValueError for an envelope that a worker could not read."""
    try:
        return kombu_json.loads(json.dumps(value))
    except Exception as error:
        raise ValueError(
            "A worker cannot decode this: the “__type__” is unknown or the “__value__” does not match it."
        ) from error


def _is_hidden(value: Any) -> bool:
    """Whether a text is a mask, or a sealed secret: it was checked when it was typed."""
    if isinstance(value, Mapping):
        return any(isinstance(inner, Opened) for inner in value.values())
    if isinstance(value, list | tuple):
        return any(isinstance(inner, Opened) for inner in value)
    return isinstance(value, Opened) or (isinstance(value, str) and is_concealed(value))


def written(value: Any, argument: Argument) -> str:
    """What stands in the field for a value; `read_argument` reads it again."""
    if isinstance(value, str) and (argument.kind == "text" or (argument.secret and is_concealed(value))):
        return value
    if argument.kind in _ENVELOPES and isinstance(value, dict) and value.get("__type__") == argument.kind:
        inner = value.get("__value__")
        return str(UUID(**inner)) if isinstance(inner, dict) else str(inner)
    return json.dumps(value, ensure_ascii=False)


def read_json(text: str) -> Any:
    """A JSON value. Raises ValueError with a sentence."""
    try:
        return decode_json(text)
    except json.JSONDecodeError as error:
        quotes = ' Put text in quotes: "like this".' if text.strip()[:1].isalpha() else ""
        raise ValueError(f"This is not JSON: {error.msg.lower()} at character {error.pos + 1}.{quotes}") from None
    except ValueError as error:
        raise ValueError(f"This is not JSON: {error}.") from None


def _without_none(note: Any) -> tuple[Any, bool]:
    """`X | None` and `Optional[X]` as X and True."""
    if typing.get_origin(note) in (typing.Union, types.UnionType):
        members = [member for member in typing.get_args(note) if member is not type(None)]
        nullable = len(members) < len(typing.get_args(note))
        return (members[0] if len(members) == 1 else reduce(or_, members)), nullable
    return note, False


def _guessed(parameter: inspect.Parameter) -> Any:
    """Without an annotation a default says which type is meant; a whole number does not rule out others."""
    kind = type(parameter.default)
    return {bool: bool, int: float, float: float, str: str}.get(kind, Any)


def _choices(note: Any) -> tuple[tuple[str, str], ...]:
    if typing.get_origin(note) is typing.Literal:
        members = [(value.value if isinstance(value, Enum) else value) for value in typing.get_args(note)]
        named = [(value, str(value)) for value in members]
    elif isinstance(note, type) and issubclass(note, Enum):
        named = [(member.value, f"{member.value} ({member.name})") for member in note]
    else:
        return ()
    # What JSON cannot say cannot be chosen; then the field is JSON, for whatever the task makes of it.
    if not all(value is None or isinstance(value, str | int | float) for value, _ in named):
        return ()
    return tuple((json.dumps(value), shown) for value, shown in named)


def _chosen(argument: Argument, text: str) -> Any:
    offered = [value for value, _ in argument.choices] or ["true", "false"]
    # A text typed by hand often lacks its quotes.
    value = text if text in offered else json.dumps(text)
    if value not in offered:
        raise ValueError(f"Choose one of: {', '.join(shown for _, shown in argument.choices) or 'true, false'}.")
    return json.loads(value)


def _enveloped(kind: str, text: str) -> dict[str, Any]:
    reader, words = _ENVELOPES[kind]
    try:
        return {"__type__": kind, "__value__": reader(text)}
    except (ValueError, InvalidOperation):
        raise ValueError(f"This is not {words}.") from None


def _misfit(value: Any, note: Any) -> str:
    """What an annotation asks for, when the value is not that; empty when it fits, or cannot be judged."""
    if _is_hidden(value):
        return ""
    origin, members = typing.get_origin(note) or note, typing.get_args(note)
    if origin in (typing.Union, types.UnionType):
        problems = [_misfit(value, member) for member in members]
        return "" if "" in problems else " or ".join(problems)
    if origin in _LISTS:
        return _misfit_list(value, members)
    if origin in _OBJECTS:
        if not isinstance(value, dict):
            return 'A JSON object, such as {"count": 1},'
        inner = members[1] if len(members) == 2 else Any
        return next((f"Under “{name}”: {bad}" for name, each in value.items() if (bad := _misfit(each, inner))), "")
    return "" if origin not in _PLAIN or _is(value, origin) else _PLAIN[origin][0].upper() + _PLAIN[origin][1:]


def _misfit_list(value: Any, members: tuple[Any, ...]) -> str:
    if not isinstance(value, list):
        return 'A JSON list, such as [1, "two"],'
    inner = members[0] if len(members) == 1 or members[1:] == (...,) else Any
    return next(
        (f"At position {place}: {bad}" for place, each in enumerate(value, 1) if (bad := _misfit(each, inner))), ""
    )


def _is(value: Any, plain: type) -> bool:
    if isinstance(value, bool) and plain is not bool:
        return False
    return isinstance(value, int | float) if plain is float else isinstance(value, plain)


def _text(value: Any) -> str:
    if isinstance(value, Enum):
        value = value.value
    if value is None:
        return "nothing"
    try:
        return json.dumps(value, ensure_ascii=False)
    except TypeError:
        return repr(value)
