"""A task as forms and schedules see it, made from its description (see `beatdesk.task_description`).

Pure functions. Descriptions of other projects come from Redis: what is not in the expected form raises ValueError.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from beatdesk.encoding import encodable_value
from beatdesk.secrecy.masking import Rule
from beatdesk.task_description import SETTINGS, TYPE_NAMES
from webapp.messaging.celery_config import SERIALIZER

# Of how many workers a note names.
NAMED = 3
# Of how many parameters a task has fields.
MAX_PARAMETERS = 200
_ANY_CALL = inspect.signature(lambda *args, **kwargs: None)  # noqa: ARG005
_TYPES = {name: kind for kind, name in TYPE_NAMES.items()}
_GENERICS: dict[str, Any] = {"list": list, "object": dict, "union": typing.Union, "literal": typing.Literal}
_KINDS = {
    kind.name.lower(): kind
    for kind in (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        inspect.Parameter.VAR_POSITIONAL,
        inspect.Parameter.KEYWORD_ONLY,
        inspect.Parameter.VAR_KEYWORD,
    )
}
_BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class TextDefault:
    """A default of which only the text is known, because JSON cannot say it."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


@dataclass(frozen=True, slots=True)
class KnownTask:
    """A task of the catalogue. `summary` is its docstring's first line, `hints` its descriptions of arguments.

    `types` are the annotations of arguments as types; an argument without one is shown by its default. `is_checked`
    says that its parameters are known; otherwise it takes whatever it is given. `queue` is where its project's routes
    send it, `settings` are its own by Celery's names. `nodes` are the workers that have announced it or have registered
    it; none for a task that is imported here.
    """

    name: str
    summary: str
    signature: inspect.Signature
    hints: Mapping[str, str] = field(default_factory=dict)
    rule: Rule = field(default_factory=Rule)
    types: Mapping[str, Any] = field(default_factory=dict)
    is_checked: bool = True
    queue: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    nodes: tuple[str, ...] = ()
    accepts: tuple[str, ...] = ()

    @property
    def note(self) -> str | None:
        """What to know about how its arguments are sent; None for nearly every task."""
        if not self.is_checked:
            named = ", ".join(self.nodes[:NAMED]) + ("…" if len(self.nodes) > NAMED else "")
            known = f"Known by name from {named}. Its" if self.nodes else "Its parameters cannot be read. Its"
            return f"{known} arguments are sent as JSON and are not checked."
        if self.accepts and not {SERIALIZER, f"application/{SERIALIZER}"} & set(self.accepts):
            listed = ", ".join(self.accepts)
            return f"Its workers accept {listed} only, and reject runs from Beatdesk, whose arguments are sent as JSON."
        declared = self.settings.get("serializer") or SERIALIZER
        if declared == SERIALIZER:
            return None
        return f"The task declares the serializer “{declared}”. Beatdesk sends its arguments as JSON."

    def refuse(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str | None:
        """Why the function does not take these arguments, or None if it does."""
        try:
            self.signature.bind(*args, **kwargs)
        except TypeError as error:
            return f"{self.name} does not take these arguments: {error}."
        return None


def by_name(name: str, nodes: tuple[str, ...], queue: str | None) -> KnownTask:
    """A task of which only the name is known, the workers that have it, and the queue that one of them consumes."""
    return KnownTask(name, "", _ANY_CALL, is_checked=False, queue=queue, nodes=nodes)


def from_description(name: str, given: Mapping[str, Any], nodes: tuple[str, ...] = ()) -> KnownTask:
    """The task that a description describes. Raises ValueError, TypeError or KeyError for another form."""
    # A default may be the name of a file with bytes that are no text, which no page can show.
    given = encodable_value(given)
    parameters = given.get("parameters")
    listed = [_parameter(one) for one in (parameters or [])[:MAX_PARAMETERS]]
    positions = tuple(one.name for one in listed if one.kind in _BY_POSITION)
    further = next((one.name for one in listed if one.kind is one.VAR_POSITIONAL), "")
    types = {one["name"]: _type(one["type"]) for one in parameters or () if "type" in one}
    return KnownTask(
        name,
        _text(given.get("doc", "")).partition("\n")[0].strip(),
        _ANY_CALL if parameters is None else inspect.Signature(listed),
        {one["name"]: _text(one["hint"]) for one in parameters or () if "hint" in one},
        Rule(frozenset(map(_text, given.get("secrets", ()))), positions, further),
        types,
        is_checked=parameters is not None,
        queue=None if given.get("queue") is None else _text(given["queue"]),
        settings={one: given[one] for one in SETTINGS if isinstance(given.get(one), str | int | float)},
        nodes=nodes,
        accepts=tuple(map(_text, given.get("accepts", ()))),
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not text")
    return value


def _parameter(given: Mapping[str, Any]) -> inspect.Parameter:
    kind = _KINDS[given["kind"]]
    default: Any = inspect.Parameter.empty
    if "default_text" in given:
        default = TextDefault(_text(given["default_text"]))
    elif "default" in given:
        default = given["default"]
    annotation = inspect.Parameter.empty if given.get("type") is None else _type(given["type"])
    return inspect.Parameter(_text(given["name"]), kind, default=default, annotation=annotation)


def _type(given: Any) -> Any:
    """The type for what `task_description.type_of` says; Any for what takes any value."""
    if given is None or isinstance(given, str):
        return Any if given is None else _TYPES[given]
    kind, *of = given
    if kind == "enum":
        name, *members = of
        return Enum(_text(name), {_text(member): value for member, value in members})
    inner = tuple(of) if kind == "literal" else tuple(map(_type, of))
    return _GENERICS[kind][(str, *inner) if kind == "object" else inner]
