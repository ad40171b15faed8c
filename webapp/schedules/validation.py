"""Whether a schedule is legal: the one home of these rules, for form, preview, JSON, command line and import.

What is given may be text (a form) or JSON values; what is found wrong is told at its field, everything at once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from webapp.queue_names import refusal, target_refusal
from webapp.recurrence import Crontab, OneTime, Recurrence, RecurrenceError, Rule, validate_recurrence
from webapp.recurrence.zones import zone
from webapp.runs.call import forms
from webapp.runs.call.arguments import call_faults
from webapp.schedule_store import secret_arguments
from webapp.schedule_store.definition import DEFAULTS, FIELDS, TARGETS, Definition, next_anchor
from webapp.schedule_store.models import Misfire, Overlap
from webapp.schedules import fields
from webapp.schedules.fields import FieldError, empty
from webapp.schedules.rule_fields import Reader, read_rule, sentence
from webapp.secrecy.masked_input import Fault, Input, Refused
from webapp.secrecy.masking import Concealed
from webapp.secrecy.rows import ALL_VERSIONS, seal_call
from webapp.secrecy.sealing import Unopenable
from webapp.task_catalogue.registry import find_task, is_unknown, rule_for
from webapp.web.errors import Invalid

# What brokers know; beat refuses others too.
HIGHEST_PRIORITY = 9
BOUNDS = ("start", "end", "max_runs", "jitter")


@dataclass(frozen=True, slots=True)
class Examined:
    """What became of what was given: a definition or errors. The recurrence is there while other fields are wrong."""

    errors: dict[str, str]
    definition: Definition | None
    recurrence: Recurrence | None


def check_schedule(
    given: Mapping[str, Any],
    now: datetime,
    *,
    current: Mapping[str, Any] | None = None,
    like: Mapping[str, Any] | None = None,
    opens: Collection[str] = (),
    taken: Callable[[str], bool] = lambda _name: False,
) -> Definition:
    """The schedule that was meant. Raises Invalid with every field at fault; see `examine`."""
    examined = examine(given, now, current=current, like=like, opens=opens, taken=taken)
    if examined.definition is None:
        raise Invalid(examined.errors)
    return examined.definition


def examine(
    given: Mapping[str, Any],
    now: datetime,
    *,
    current: Mapping[str, Any] | None = None,
    like: Mapping[str, Any] | None = None,
    opens: Collection[str] = (),
    taken: Callable[[str], bool] = lambda _name: False,
    keeps_unknown: bool = False,
) -> Examined:
    """Look at every field.

    `current` is the snapshot of the schedule that is edited: fields that are not given stay as they are there, and a
    time that has passed may stay as it was while the schedule is disabled. `taken` says whether another schedule has
    a name. Unknown fields are refused, so that a misspelt one is not lost in silence.

    A mask among the given arguments stands for what `current`, or the snapshot that a new schedule is to be `like`, has
    there. Text that looks sealed is refused, except for the versions that `opens` names: those of an export that is
    imported, or of what our own tables have.

    A task that is not registered is refused, except that a disabled schedule keeps it: one that had it before, and with
    `keeps_unknown` any.
    """
    in_fields = forms.sent_as_fields(given)
    given, call_errors = with_call(given, current)
    form = Reader({**DEFAULTS, **(current or {}), **given})
    form.errors |= call_errors
    form.errors |= {name: f"Unknown field “{name[:60]}”." for name in given if name not in FIELDS}
    name = form.read("name", lambda value: _name(value, taken), "")
    had = None if current is None else current.get("task")
    task = form.read("task", lambda value: _task(value, keeps=_disabled(form) and (keeps_unknown or value == had)), "")
    args, kwargs = form.read("args", _args, list[Any]()), form.read("kwargs", _kwargs, dict[str, Any]())
    timezone = form.read("timezone", fields.timezone, "UTC")
    rule = read_rule(form, zone(timezone))
    values = _policies(form, zone(timezone)) | _targets(form, [one for one in (current, like) if one], opens)
    if not call_errors:
        try:
            args, kwargs = _check_call(form, (task, args, kwargs), given.keys(), current, like or current, opens)
        except Refused as error:
            form.errors |= error.by_argument(forms.PREFIX) if in_fields else error.by_field()
    recurrence = None
    if rule is not None and "timezone" not in form.errors:
        recurrence = _check_recurrence(form, rule, timezone, values, now)
        _check_passed(form, rule, values["enabled"], now, current)
    if form.errors or rule is None:
        return Examined(form.errors, None, recurrence)
    definition = Definition(name=name, task=task, rule=rule, timezone=timezone, args=args, kwargs=kwargs, **values)
    return Examined({}, definition, recurrence)


def with_call(given: Mapping[str, Any], current: Mapping[str, Any] | None) -> tuple[dict[str, Any], dict[str, str]]:
    """What was given with the fields of its call, `arg.NAME`, read as `args` and `kwargs`; and what is wrong there.

    Arguments that `current` gives to the same task by position stay so: an edit of one is no change of the others.
    """
    plain = {name: value for name, value in given.items() if not forms.is_field(name)}
    if not forms.sent_as_fields(given):
        return plain, {}
    current = current or {}
    name = str(plain.get("task") or current.get("task") or "")
    task = find_task(name)
    if task is None:
        return plain, {}
    like = current.get("args") if current.get("task") == name else None
    try:
        args, kwargs = forms.read_fields(task, given, like if isinstance(like, list) else ())
    except Invalid as error:
        return plain, error.fields
    return plain | {"args": args, "kwargs": kwargs}, {}


def _policies(form: Reader, tz: ZoneInfo) -> dict[str, Any]:
    """Everything but what runs and when it repeats."""
    return {
        "enabled": form.read("enabled", fields.yes_no, default=True),
        "queue": form.optional("queue", _queue),
        "priority": form.optional("priority", lambda value: fields.whole(value, 0, HIGHEST_PRIORITY)),
        "expire_seconds": form.optional("expire_seconds", lambda value: fields.whole(fields.duration(value), 1)),
        "start": form.optional("start", lambda value: fields.moment(value, tz)),
        "end": form.optional("end", lambda value: fields.moment(value, tz)),
        "max_runs": form.optional("max_runs", lambda value: fields.whole(value, 1)),
        "jitter": form.optional("jitter", fields.duration) or 0.0,
        "misfire": form.read("misfire", lambda value: fields.choice(value, Misfire), Misfire.RUN_ONCE.value),
        "misfire_window": form.read("misfire_window", lambda value: fields.whole(fields.duration(value), 0), 3600),
        "overlap": form.read("overlap", lambda value: fields.choice(value, Overlap), Overlap.ALLOW.value),
        "failure_budget": form.optional("failure_budget", lambda value: fields.whole(value, 1, 10_000)),
        "description": form.read("description", lambda value: fields.lines(value or ""), ""),
        "tags": form.read("tags", lambda value: fields.tags(value or []), list[Any]()),
    }


def _targets(form: Reader, known: Sequence[Mapping[str, Any]], opens: Collection[str]) -> dict[str, Any]:
    """The exchange and the routing key: kept as they are known, or removed; of our own tables and exports any."""

    def read(name: str) -> Callable[[Any], str]:
        return lambda value: _target(value, [one.get(name) for one in known], allowed=bool(opens))

    return {name: form.optional(name, read(name)) for name in TARGETS}


def _target(value: Any, known: Sequence[Any], *, allowed: bool) -> str:
    name = fields.line(value)
    if name in known:
        return name
    if not allowed:
        raise FieldError("This value can be kept or removed, but not changed. Set a queue instead.")
    if reason := target_refusal(None, name, name):
        raise FieldError(reason)
    return name


def _name(value: Any, taken: Callable[[str], bool]) -> str:
    if empty(value):
        raise FieldError("Enter a name.")
    name = fields.line(value)
    if taken(name):
        raise FieldError("Another schedule has this name.")
    return name


def _disabled(form: Reader) -> bool:
    try:
        return not fields.yes_no(form.given.get("enabled"))
    except FieldError:
        return False


def _task(value: Any, *, keeps: bool) -> str:
    if empty(value):
        raise FieldError("Choose a task.")
    name = fields.line(value)
    if find_task(name) is None and not (keeps and is_unknown(name)):
        raise FieldError(f"The task “{name}” is not registered.")
    return name


def _args(value: Any) -> list[Any]:
    found: list[Any] = [] if empty(value) else fields.json_value(value, list, 'a JSON list such as [1, "two"]')
    return found


def _kwargs(value: Any) -> dict[str, Any]:
    found: dict[str, Any] = {} if empty(value) else fields.json_value(value, dict, 'a JSON object such as {"count": 1}')
    return found


def _queue(value: Any) -> str:
    name = fields.line(value)
    if reason := refusal(name):
        raise FieldError(reason)
    return name


def _check_call(  # noqa: PLR0917  # what was given, and what there is
    form: Reader,
    call: tuple[str, list[Any], dict[str, Any]],
    given: Collection[str],
    current: Mapping[str, Any] | None,
    like: Mapping[str, Any] | None,
    opens: Collection[str],
) -> tuple[list[Any], dict[str, Any]]:
    """Whether the task's function takes these arguments; gives them with each secret one sealed in its place.

    Raises Refused.
    """
    task, args, kwargs = call
    if not task or form.errors.keys() & {"args", "kwargs"}:
        return args, kwargs
    known = find_task(task)
    rule = known.rule if known else rule_for(task)
    if known and (reason := known.refuse(args, kwargs)):
        form.errors["kwargs" if kwargs and not args else "args"] = reason
        return args, kwargs
    as_given = Input(rule, task, _kept(task, like), opens)
    # What was not given comes from the table: sealed for the task that the schedule has had so far.
    as_stored = Input(rule, task, None, ALL_VERSIONS if current and current.get("task") == task else ())
    read: tuple[list[Any], dict[str, Any]] = ([], {})
    faults: list[Fault] = []
    for name, part in (("args", (args, {})), ("kwargs", ([], kwargs))):
        try:
            found = (as_given if name in given else as_stored).read(*part)
            read = (read[0] or found[0], read[1] or found[1])
        except Refused as error:
            faults += error.faults
    if faults:
        raise Refused(faults)
    # Arguments that the schedule has already stay as they are: another field of it can be edited all the same.
    if known and [task, args, kwargs] != [(current or {}).get(name) for name in ("task", "args", "kwargs")]:
        form.errors |= call_faults(known, *read)
    former = (current.get("args") or (), current.get("kwargs") or {}) if current else ((), {})
    return seal_call(rule, task, *read, former)


def _kept(task: str, like: Mapping[str, Any] | None) -> Concealed | None:
    """What masks among the arguments stand for; nothing when they were shown for another task, or cannot be opened."""
    if like is None or like.get("task") != task:
        return None
    try:
        return secret_arguments.opened(like)
    except (Unopenable, AttributeError, TypeError):
        return None


def _check_recurrence(
    form: Reader, rule: Rule, timezone: str, values: Mapping[str, Any], now: datetime
) -> Recurrence | None:
    """What only the whole of it shows: an end before the start, a crontab that never fires."""
    if form.errors.keys() & set(BOUNDS):
        return None
    recurrence = Recurrence(rule=rule, timezone=timezone, **{name: values[name] for name in BOUNDS})
    try:
        validate_recurrence(recurrence)
    except RecurrenceError as error:
        field = error.field if error.field in FIELDS else "crontab" if isinstance(rule, Crontab) else ""
        form.errors.setdefault(field, sentence(error))
        return None
    return dataclasses.replace(recurrence, anchor=next_anchor(rule, now))


def _check_passed(form: Reader, rule: Rule, enabled: bool, now: datetime, current: Mapping[str, Any] | None) -> None:
    """A time in the past would never come; only what has had its time may keep it, disabled."""
    if not isinstance(rule, OneTime) or rule.at > now:
        return
    kept = current is not None and current.get("at") == Definition("", "", rule).snapshot()["at"]
    if not kept or enabled:
        form.errors.setdefault("at", "This time is in the past.")
