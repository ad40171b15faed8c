"""Imports Celery's `beat_schedule` from Python source, which is parsed and not executed, or from an imported module."""

from __future__ import annotations

import ast
import importlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from celery import Celery
from celery.app.utils import Settings
from celery.schedules import crontab, schedule, solar

from webapp.recurrence.fields import FIELD_NAMES
from webapp.schedule_store.definition import TARGETS
from webapp.schedules.sources.given import Given, check_names, interval, refuse
from webapp.schedules.sources.python.changes import PERIODIC, SCHEDULES
from webapp.schedules.sources.python.module import Module
from webapp.schedules.sources.python.tasks import entry_values
from webapp.schedules.sources.python.timezone import SourceZones, Zone, of_objects
from webapp.schedules.sources.python.values import (
    ALWAYS,
    REMOVED,
    Table,
    Unknown,
    Unreadable,
    When,
    Write,
    complete,
    conditions,
    join_lines,
)

_ENTRY = {"task", "schedule", "args", "kwargs", "options"}
_OPTIONS = {"queue", *TARGETS, "priority", "expires"}


def looks_like_beat_schedule(text: str) -> bool:
    """Whether a text is probably Python source with a schedule."""
    if any(name in text for name in (*SCHEDULES, PERIODIC)):
        return True
    return text.lstrip()[:1] == "{" and any(f"{quote}schedule{quote}" in text for quote in "'\"")


def from_source(text: str, timezone: str = "") -> list[Given]:
    """The entries of a dict in Python source, or of all schedules of a module.

    `timezone` is for crontabs if the source has no time zone; without it they are in UTC, as in Celery. Raises Invalid.
    """
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise refuse(f"This is not Python: {error}.", getattr(error, "lineno", None)) from error
    try:
        given = _Found(Module(tree), timezone).entries()
    except RecursionError as error:
        raise refuse("This is nested too deep to be read.") from error
    if all(one.skipped for one in given):
        elsewhere = "".join(f" Line {one.line}: {one.skipped}" for one in given[:1])
        raise refuse(f"The file has no dict named “beat_schedule” with entries.{elsewhere}")
    return check_names(given)


def from_module(path: str, timezone: str = "") -> list[Given]:
    """The entries of `module:attribute`, which is imported: only for trusted code. Raises Invalid.

    The attribute is a dict or a Celery app. `timezone` is for crontabs if the settings have no time zone.
    """
    module, _, attribute = path.partition(":")
    try:
        owners: list[Any] = [importlib.import_module(module)]
        for part in filter(None, (attribute or SCHEDULES[0]).split(".")):
            owners.append(getattr(owners[-1], part))
            if isinstance(owners[-1], Celery):
                owners[-1].finalize()  # calls the receivers of its signals, which may add entries
    except (ImportError, AttributeError, ValueError) as error:
        raise refuse(f"{path} cannot be imported: {error}.") from error
    found = owners[-1].conf.beat_schedule if isinstance(owners[-1], Celery) else owners.pop()
    if not isinstance(found, Mapping):
        raise refuse(f"{path} is not a dict of entries.")
    settings = [one.conf if isinstance(one, Celery) else one for one in owners if isinstance(one, Celery | Settings)]
    zone = of_objects(settings or owners[::-1], path, timezone)
    return check_names([from_entry(str(name), value, zone) for name, value in found.items()])


class _Found:
    """The entries of a parsed module by name, with every value that each of them is given."""

    def __init__(self, module: Module, timezone: str) -> None:
        self.module = module
        self.by_name: dict[str, list[tuple[Given, Write]]] = {}
        self.unread: dict[tuple[int, str], None] = {}
        zones = SourceZones(module, timezone)
        for table, key in dict.fromkeys(one for one in module.schedules if one[0] not in module.applied):
            zone = zones.of(table, key)
            self._doubt(table)
            for place in table.possible(key):
                if isinstance(place.value, Table):
                    self._add_all(place.value, zone, place.when)
        self._add_all(module.periodic, zones.of(module.paths, ""))

    def entries(self) -> list[Given]:
        """One entry for each name, and one for everything that could not be read, in the order of their lines."""
        found = [_joined(name, values) for name, values in self.by_name.items()]
        found += self._replaced()
        for one in self.module.unread:
            self.unread[one.line, one.why] = None
        lines = [Given("", line=line, error=_sentence(why)) for line, why in self.unread]
        lines += [Given("", line=one.line, skipped=one.why) for one in (*self.module.imports, *self.module.unused)]
        count: Counter[int | None] = Counter()
        for given in lines:
            count[given.line] += 1
            more = f" ({count[given.line]})" if count[given.line] > 1 else ""
            found.append(replace(given, name=f"line {given.line}{more}"))
        return sorted(found, key=lambda given: given.line or 0)

    def _doubt(self, table: Table) -> None:
        """Add code that may change a schedule in an unknown way to what could not be read."""
        if doubt := self.module.doubts.get(id(table)):
            self.unread[doubt[1].line, doubt[1].why] = None

    def _add_all(self, schedule: Table, zone: Zone, when: When = ALWAYS) -> None:
        self._doubt(schedule)
        for key in schedule.slots:
            for write in schedule.possible(key):
                if isinstance(key, Unknown):
                    self.unread[key.line, key.why] = None
                    continue
                given = self._given(key, write, zone)
                self.by_name.setdefault(given.name, []).append((given, replace(write, when=write.when | when)))

    def _given(self, key: Any, write: Write, zone: Zone) -> Given:
        name = f"line {write.line}" if isinstance(key, tuple) else str(key)
        if write.value is REMOVED:
            return Given(name, line=write.line, skipped=f"Line {write.line} takes it out.")
        try:
            name, value, notes = entry_values(self.module, key, write.value)
        except Unreadable as error:
            return Given(name, line=error.line or write.line, error=_sentence(str(error)))
        given = from_entry(name, value, zone, write.line)
        notes += [f"It replaces what {join_lines(set(write.replaced))} says."] if write.replaced else []
        return replace(given, notes=[*given.notes, *notes])

    def _replaced(self) -> list[Given]:
        """The entries of a schedule that was replaced by another one without them."""
        gone: dict[str, Given] = {}
        for table, line in self.module.replaced:
            for key, writes in table.slots.items():
                name, why = str(key), f"Line {line} gives the schedule another value, without this."
                if not isinstance(key, Unknown) and name not in self.by_name:
                    gone[name] = Given(name, line=writes[-1].line, skipped=why)
        return [*gone.values()]


def _joined(name: str, values: Sequence[tuple[Given, Write]]) -> Given:
    """The entry for several values of one name; with an error if they differ."""
    first, writes = values[0][0], sorted((write for _, write in values), key=lambda write: write.line)
    content = (first.fields, first.error, first.skipped)
    if any((given.fields, given.error, given.skipped) != content for given, _ in values):
        depends = f", depending on whether {conditions(writes[-1:])}" if conditions(writes[-1:]) else ""
        lines = join_lines({write.line for write in writes})
        why = f"It is defined differently in {lines}{depends}. Keep one of them in the file."
        return Given(name, line=max(write.line for write in writes), error=why)
    if not complete({write.when for write in writes}):
        note = f"It is there only if {conditions(writes)}, which is not evaluated. Leave it out if that is not so."
        return replace(first, notes=[*first.notes, note])
    return first


def from_entry(name: str, value: Any, zone: Zone, line: int | None = None) -> Given:
    """One entry in Celery's form, whose schedule is one of Celery's objects."""
    if not isinstance(value, Mapping) or not {"task", "schedule"} <= value.keys():
        return Given(name, line=line, error="Use a dict with “task” and “schedule”.")
    try:
        fields, notes = _fields(value, zone)
    except ValueError as error:
        return Given(name, line=line, error=_sentence(str(error)))
    return Given(name, {"name": name, **fields}, line, notes)


def _fields(value: Mapping[Any, Any], zone: Zone) -> tuple[dict[str, Any], list[str]]:
    """The fields of an entry, and notes on what is not supported. Raises ValueError."""
    args, kwargs, options = value.get("args") or [], value.get("kwargs") or {}, value.get("options") or {}
    for key, given in (("args", args), ("kwargs", kwargs), ("options", options)):
        if not isinstance(given, list | tuple if key == "args" else Mapping):
            needed = "a list or tuple" if key == "args" else "a dict"
            raise ValueError(f"its {key} must be {needed}, but are {given!r:.80}")  # noqa: TRY004  # what a file says
    left_out = [f"“{key}”" for key, part in value.items() if key not in _ENTRY and not (key == "relative" and not part)]
    left_out += [f"The option “{key}”" for key in options if key not in _OPTIONS]
    if getattr(value["schedule"], "relative", False):
        left_out.append("“relative”")
    notes = [f"{text} is not supported and is left out." for text in sorted(left_out)]
    when, more = _when(value["schedule"], zone)
    expires = _seconds(options.get("expires"))
    if expires is not None and (more_exact := _exact_seconds(options["expires"])) != expires:
        notes.append(f"“expires” of {more_exact:g} seconds is rounded to {expires}.")
    fields = {
        "task": value["task"],
        "args": [*args],
        "kwargs": dict(kwargs),
        **{key: getattr(options.get(key), "name", options.get(key)) for key in ("queue", *TARGETS)},
        "priority": options.get("priority"),
        "expire_seconds": expires,
        **when,
    }
    return fields, notes + more


def _when(rule: Any, zone: Zone) -> tuple[dict[str, Any], list[str]]:
    """The fields of a Celery schedule, and a note on its time zone. Raises ValueError."""
    if isinstance(rule, crontab):
        if zone.error:
            raise ValueError(zone.error)
        # The original text instead of Celery's numbers: "*/5" and not twelve numbers.
        fields = [_cron_field(getattr(rule, f"_orig_{name}")) for name in FIELD_NAMES]
        return {"kind": "crontab", "crontab": " ".join(fields), "timezone": zone.name}, zone.notes()
    if isinstance(rule, solar):
        return {"kind": "solar", "event": rule.event, "latitude": rule.lat, "longitude": rule.lon}, []
    if isinstance(rule, schedule):
        rule = rule.run_every
    if isinstance(rule, bool) or not isinstance(rule, int | float | timedelta):
        raise ValueError(  # noqa: TRY004  # what a file says, not how it was called
            f"its schedule is none of crontab, schedule, timedelta, solar or a number, but {rule!r:.80}"
        )
    try:
        every = rule if isinstance(rule, timedelta) else timedelta(seconds=rule)
    except (OverflowError, ValueError) as error:
        raise ValueError("its number of seconds is too large") from error
    return interval(every), []


def _cron_field(value: Any) -> str:
    if isinstance(value, str | int):
        return str(value).replace(" ", "") or "*"
    return ",".join(str(part) for part in sorted(value, key=str if any(isinstance(x, str) for x in value) else int))


def _seconds(value: Any) -> int | None:
    if value is None:
        return None
    seconds = _exact_seconds(value)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 1 <= seconds < 2**31:
        raise ValueError(f"its option “expires” must be a number of seconds, but is {value!r:.80}")
    return round(seconds)


def _exact_seconds(value: Any) -> Any:
    return value.total_seconds() if isinstance(value, timedelta) else value


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")
