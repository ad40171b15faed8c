"""Whether a schedule is legal: the one home of these rules, for form, preview, JSON, command line and import.

The values may be text (a form) or JSON; all errors are reported at once, each at its field.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from beatdesk.secrecy.masking import Concealed
from beatdesk.secrecy.sealing import Unopenable
from webapp.queue_names import target_refusal
from webapp.recurrence import Crontab, OneTime, Recurrence, RecurrenceError, Rule, validate_recurrence
from webapp.recurrence.zones import zone
from webapp.runs.call import forms
from webapp.runs.call.arguments import call_faults
from webapp.schedule_store import secret_arguments
from webapp.schedule_store.definition import DEFAULTS, FIELDS, TARGETS, Definition, next_anchor
from webapp.schedules.bodies import ScheduleBody
from webapp.schedules.rule_fields import read_rule, sentence
from webapp.secrecy.masked_input import Fault, Input, Refused
from webapp.secrecy.rows import ALL_VERSIONS, seal_call
from webapp.task_catalogue.registry import find_task, is_unknown, rule_for
from webapp.web.bodies import read_values
from webapp.web.errors import Invalid

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
    given, errors = with_call(given, current)
    call_errors = bool(errors)
    errors |= {name: f"Unknown field “{name[:60]}”." for name in given if name not in FIELDS}
    values = {**DEFAULTS, **(current or {}), **given}
    body = read_values(ScheduleBody, values, errors=errors)
    if "name" not in errors and taken(body.name):
        errors["name"] = "Another schedule has this name."
    keeps = not body.enabled and (keeps_unknown or (current or {}).get("task") == body.task)
    if body.task and find_task(body.task) is None and not (keeps and is_unknown(body.task)):
        errors["task"] = f"The task “{body.task}” is not registered."
    errors |= _target_faults(body, [one for one in (current, like) if one], allowed=bool(opens))
    args, kwargs = body.args, body.kwargs
    if not call_errors and "task" not in errors:
        try:
            args, kwargs = _check_call(errors, (body.task, args, kwargs), given.keys(), current, like or current, opens)
        except Refused as error:
            errors |= error.by_argument(forms.PREFIX) if in_fields else error.by_field()
    rule, recurrence = None, None
    try:
        rule = read_rule(body.kind, values, zone(body.timezone)) if body.kind else None
    except Invalid as error:
        errors |= error.fields
    if rule is not None and "timezone" not in errors:
        recurrence = _check_recurrence(errors, rule, body, now)
        _check_passed(errors, rule, body.enabled, now, current)
    if errors or rule is None:
        return Examined(errors, None, recurrence)
    read = {name: getattr(body, name) for name in DEFAULTS} | {"args": args, "kwargs": kwargs}
    return Examined({}, Definition(body.name, body.task, rule, **read), recurrence)


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


def _target_faults(body: ScheduleBody, known: Sequence[Mapping[str, Any]], *, allowed: bool) -> dict[str, str]:
    """The exchange and the routing key are kept as they are known, or removed; of our own tables and exports any."""
    faults = {}
    for name in TARGETS:
        value = getattr(body, name)
        if value is None or value in [one.get(name) for one in known]:
            continue
        if not allowed:
            faults[name] = "This value can be kept or removed, but not changed. Set a queue instead."
        elif reason := target_refusal(None, value, value):
            faults[name] = reason
    return faults


def _check_call(  # noqa: PLR0917  # what was given, and what there is
    errors: dict[str, str],
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
    if errors.keys() & {"args", "kwargs"}:
        return args, kwargs
    known = find_task(task)
    rule = known.rule if known else rule_for(task)
    if known and (reason := known.refuse(args, kwargs)):
        errors["kwargs" if kwargs and not args else "args"] = reason
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
        errors |= call_faults(known, *read)
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


def _check_recurrence(errors: dict[str, str], rule: Rule, body: ScheduleBody, now: datetime) -> Recurrence | None:
    """What only the whole of it shows: an end before the start, a crontab that never fires."""
    if errors.keys() & set(BOUNDS):
        return None
    recurrence = Recurrence(rule, body.timezone, **{name: getattr(body, name) for name in BOUNDS})
    try:
        validate_recurrence(recurrence)
    except RecurrenceError as error:
        field = error.field if error.field in FIELDS else "crontab" if isinstance(rule, Crontab) else ""
        errors.setdefault(field, sentence(error))
        return None
    return dataclasses.replace(recurrence, anchor=next_anchor(rule, now))


def _check_passed(
    errors: dict[str, str], rule: Rule, enabled: bool, now: datetime, current: Mapping[str, Any] | None
) -> None:
    """A time in the past would never come; only what has had its time may keep it, disabled."""
    if not isinstance(rule, OneTime) or rule.at > now:
        return
    kept = current is not None and current.get("at") == Definition("", "", rule).snapshot()["at"]
    if not kept or enabled:
        errors.setdefault("at", "This time is in the past.")
