"""A call as a form: one field for each argument of the task, or JSON.

The one home of it for launching, retrying with other arguments, schedules, and running a schedule now.
The fields are named `arg.NAME`; `mode` says whether fields or JSON were sent. JSON stands in `args` and `kwargs`.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from beatdesk.secrecy.masking import Rule, walk, walk_call
from beatdesk.secrecy.names import is_secret
from beatdesk.secrecy.text import MASK, hide
from webapp.runs.call.arguments import Argument, argument, read_argument, read_json, written
from webapp.runs.call.summary import settings_of
from webapp.secrecy.masked_input import FORGOTTEN, forget
from webapp.task_catalogue.known_task import KnownTask
from webapp.task_catalogue.registry import find_task
from webapp.web.errors import Invalid

PREFIX = "arg."
MODE = "mode"
NO_FIT = "These arguments do not match the task’s fields, so they are shown as JSON."


@dataclass(frozen=True, slots=True)
class CallForm:
    """What is shown: fields or JSON, with their text. `aside` is text for arguments that the task does not have."""

    task: KnownTask | None
    fields: list[Argument]
    as_json: bool
    values: Mapping[str, str] = field(default_factory=dict)
    note: str = ""

    @property
    def settings(self) -> list[str]:
        """What the task's own settings say about its runs, in words."""
        return settings_of(self.task)

    @property
    def aside(self) -> dict[str, str]:
        """Typed for another task, and kept in case of going back to it."""
        known = {f"{PREFIX}{one.name}" for one in self.fields}
        typed = {name: text for name, text in self.values.items() if name.startswith(PREFIX) and text.strip()}
        return {
            name: text
            for name, text in typed.items()
            if name not in known and not is_secret(name) and hide(text) == text
        }


def fields_of(task: KnownTask) -> list[Argument]:
    """The fields for a task's arguments, in its order; none where they are unknown."""
    if not task.is_checked:
        return []
    return [argument(parameter, task) for parameter in task.signature.parameters.values()]


def from_json(task_name: str, args: str, kwargs: str, *, as_json: bool = False, kept: bool = True) -> CallForm:
    """The form for arguments in JSON: fields where they fit, unless `as_json` is wished.

    A masked argument is shown as unchanged if its value is `kept`, else its field is empty.
    """
    task = find_task(task_name) if task_name else None
    args, kwargs = _forgotten(task, args, kwargs)
    values = {"args": args, "kwargs": kwargs}
    blank = _is_blank(args, list) and _is_blank(kwargs, dict)
    fields = fields_of(task) if task else []
    unknown = task is not None and not task.is_checked
    if as_json or unknown or (task is None and not blank):
        return CallForm(task, fields, True, values)
    if task is None or blank:
        return CallForm(task, fields, False, values)
    try:
        typed = as_fields(task, json.loads(args), json.loads(kwargs), kept=kept)
    except (ValueError, RecursionError):
        typed = None
    if typed is None:
        return CallForm(task, fields, True, values, NO_FIT)
    return CallForm(task, fields, False, values | {f"{PREFIX}{name}": text for name, text in typed.items()})


def from_typed(task_name: str, given: Mapping[str, Any]) -> CallForm:
    """The form with what was typed into it, fields or JSON."""
    values = {name: str(text) for name, text in given.items()}
    task = find_task(task_name) if task_name else None
    if not sent_as_fields(given) or (task is not None and not task.is_checked):
        wished = given.get(MODE) == "json"
        return from_json(task_name, values.get("args", "[]"), values.get("kwargs", "{}"), as_json=wished)
    fields = fields_of(task) if task else []
    values |= {name: _forgotten_field(one, values[name]) for one in fields if (name := f"{PREFIX}{one.name}") in values}
    return CallForm(task, fields, False, values)


def _forgotten(task: KnownTask | None, args: str, kwargs: str) -> tuple[str, str]:
    """The JSON of a call without the secrets that were typed into it; what is not JSON as it is, to be corrected."""
    rule = task.rule if task else Rule()
    if not rule.concerns(args) and not rule.concerns(kwargs):
        return args, kwargs
    try:
        call = walk_call(rule, read_json(args), read_json(kwargs), forget)
    except (ValueError, TypeError, AttributeError):
        return args, kwargs
    # What has no secret in it stays exactly as it was typed.
    texts = [json.dumps(part, ensure_ascii=False) for part in call]
    return (texts[0] if FORGOTTEN in texts[0] else args, texts[1] if FORGOTTEN in texts[1] else kwargs)


def _forgotten_field(argument: Argument, text: str) -> str:
    """The same for a field; one of a secret argument alone is never shown anyway."""
    if argument.secret or hide(text) == text:
        return text
    try:
        value = read_json(text) if argument.kind == "json" else text
    except ValueError:
        return text
    shown = walk(Rule(), value, False, (), forget)
    return shown if isinstance(value, str) else json.dumps(shown, ensure_ascii=False)


def switched(task_name: str, given: Mapping[str, Any], wished: str) -> tuple[CallForm, dict[str, str]]:
    """The same call in the other way of writing, `json` or `fields`, and why it cannot be written so."""
    form = from_typed(task_name, given)
    if form.task is None or form.as_json == (wished == "json"):
        return form, {}
    if wished == "json":
        try:
            args, kwargs = read_fields(form.task, given)
        except Invalid as error:
            if any(str(given.get(name, "")).strip() for name in error.fields):
                return form, error.fields
            args, kwargs = [], {}
        texts = (json.dumps(value, ensure_ascii=False) for value in (args, kwargs))
        return from_json(task_name, *texts, as_json=True), {}
    return from_json(task_name, form.values.get("args", "[]"), form.values.get("kwargs", "{}")), {}


def sent_as_fields(given: Mapping[str, Any]) -> bool:
    """Whether a form of fields was sent, and not JSON."""
    return given.get(MODE) != "json" and (given.get(MODE) == "fields" or any(name.startswith(PREFIX) for name in given))


def is_field(name: str) -> bool:
    """Whether a name belongs to the form of a call, `args` and `kwargs` aside."""
    return name == MODE or name.startswith(PREFIX)


def read_fields(
    task: KnownTask, given: Mapping[str, Any], like: Sequence[Any] = ()
) -> tuple[list[Any], dict[str, Any]]:
    """The call that the fields say, by position as far as `like`, the arguments before, were so; the rest by name.

    Raises Invalid with a sentence at each field that cannot be taken.
    """
    errors: dict[str, str] = {}
    values: dict[str, Any] = {}
    for one in fields_of(task):
        key = f"{PREFIX}{one.name}"
        text = str(given.get(key, ""))
        if not text.strip() and not (one.kind == "text" and text):
            if one.required and one.nullable:
                values[one.name] = None
            elif one.required:
                errors[key] = "Enter a value."
            continue
        try:
            values[one.name] = read_argument(one, text)
        except ValueError as error:
            errors[key] = str(error)
    if errors:
        raise Invalid(errors)
    return _placed(task, values, len(like))


def read_texts(given: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """The call that the JSON in `args` and `kwargs` says. Raises Invalid at them."""
    found: dict[str, Any] = {}
    errors: dict[str, str] = {}
    for name, kind, words in (
        ("args", list, 'list, such as [1, "two"],'),
        ("kwargs", dict, 'object, such as {"count": 1},'),
    ):
        text = str(given.get(name, "")).strip() or json.dumps(kind())
        try:
            found[name] = read_json(text)
            if not isinstance(found[name], kind):
                errors[name] = f"A JSON {words} is required."
        except ValueError as error:
            errors[name] = str(error)
    if errors:
        raise Invalid(errors)
    return found["args"], found["kwargs"]


def as_fields(
    task: KnownTask, args: Sequence[Any], kwargs: Mapping[str, Any], *, kept: bool = True
) -> dict[str, str] | None:
    """What stands in the fields for a call; None when they cannot say exactly this call."""
    if task.refuse(args, kwargs):
        return None
    given = task.signature.bind(*args, **kwargs).arguments
    fields = {one.name: one for one in fields_of(task)}
    texts = {
        name: written(list(value) if fields[name].spread == "*" else value, fields[name])
        for name, value in given.items()
    }
    try:
        again = read_fields(task, {f"{PREFIX}{name}": text for name, text in texts.items()}, args)
    except Invalid:
        return None
    if not _same(again, (list(args), dict(kwargs))):
        return None
    return {name: "" if text == MASK and not kept else text for name, text in texts.items()}


def _placed(task: KnownTask, values: dict[str, Any], positional: int) -> tuple[list[Any], dict[str, Any]]:
    """Values by name as positional and named arguments."""
    parameters = list(task.signature.parameters.values())
    rest: list[Any] = next((values.pop(one.name, []) for one in parameters if one.kind is one.VAR_POSITIONAL), [])
    more: dict[str, Any] = next((values.pop(one.name, {}) for one in parameters if one.kind is one.VAR_KEYWORD), {})
    by_position = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    forced = len(by_position) if rest else 0
    forced = max(
        [
            forced,
            *(
                place
                for place, one in enumerate(by_position, 1)
                if one.kind is one.POSITIONAL_ONLY and one.name in values
            ),
        ]
    )
    args: list[Any] = []
    for place, one in enumerate(by_position):
        if one.name not in values and place < forced:
            values[one.name] = _default(one)
        if place >= max(positional, forced) or one.name not in values:
            break
        args.append(values.pop(one.name))
    if clash := more.keys() & task.signature.parameters.keys():
        name = next(one.name for one in parameters if one.kind is one.VAR_KEYWORD)
        raise Invalid({f"{PREFIX}{name}": f"“{min(clash)}” has its own field."})
    return [*args, *rest], values | more


def _default(parameter: inspect.Parameter) -> Any:
    try:
        return json.loads(json.dumps(parameter.default))
    except TypeError:
        raise Invalid({f"{PREFIX}{parameter.name}": "Enter a value: a later argument is given by position."}) from None


def _is_blank(text: str, kind: type) -> bool:
    return text.strip() in ("", json.dumps(kind()))


def _same(one: Any, other: Any) -> bool:
    """Whether two calls are the same JSON: 1, 1.0 and true are not."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
