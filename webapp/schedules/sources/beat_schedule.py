"""Celery's `beat_schedule`: from Python source, which is read and not run, or as it is in a module."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from celery.schedules import crontab, schedule, solar

from webapp.schedules.definition import TARGETS
from webapp.schedules.sources.given import Given, check_names, interval, refuse
from webapp.schedules.sources.literals import Unreadable, name_of, value_of

NAMES = ("beat_schedule", "CELERY_BEAT_SCHEDULE", "CELERYBEAT_SCHEDULE")
ZONES = ("timezone", "CELERY_TIMEZONE")
_ENTRY = {"task", "schedule", "args", "kwargs", "options", "relative"}
_OPTIONS = {"queue", *TARGETS, "priority", "expires"}


def looks_like_beat_schedule(text: str) -> bool:
    """Whether a text is most likely this."""
    if any(name in text for name in NAMES):
        return True
    return text.lstrip()[:1] == "{" and any(f"{quote}schedule{quote}" in text for quote in "'\"")


def from_source(text: str, timezone: str) -> list[Given]:
    """The entries of a dict in Python source, or of what is assigned to `beat_schedule` in a whole module.

    `timezone` is for crontabs where the source does not say. Raises Invalid.
    """
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise refuse(f"This is not Python: {error}.", getattr(error, "lineno", None)) from error
    try:
        found, zone = _find(tree)
        given = [_read(key, value, names, zone or timezone) for key, value, names in found]
    except RecursionError as error:
        raise refuse("This lies too deep to be read.") from error
    if not given:
        raise refuse("There is no dict named “beat_schedule” with entries in it.")
    return check_names(given)


def from_module(path: str, timezone: str) -> list[Given]:
    """The entries of `module:attribute`, which is imported: for one's own code only. Raises Invalid."""
    module, _, attribute = path.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in filter(None, (attribute or "beat_schedule").split(".")):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise refuse(f"{path} cannot be imported: {error}.") from error
    if not isinstance(found, Mapping):
        raise refuse(f"{path} is not a dict of entries.")
    return check_names([_entry(str(name), value, timezone, None) for name, value in found.items()])


Entry = tuple[ast.expr, ast.expr, Mapping[str, Any]]


def _find(tree: ast.Module) -> tuple[list[Entry], str]:
    """The entries of every such dict, with the constants that were there before it; and the zone."""
    names: dict[str, Any] = {}
    found: list[Entry] = []
    zone = ""
    for statement in tree.body:
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Dict):
            found += _entries(statement.value, names)
        if not isinstance(statement, ast.Assign | ast.AnnAssign) or statement.value is None:
            continue
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        for target in targets:
            name = name_of(target) or _subscript(target)
            if name in NAMES and isinstance(statement.value, ast.Dict):
                found += _entries(statement.value, names)
            elif (value := _constant(statement.value, names)) is not None:
                names |= {name: value} if isinstance(target, ast.Name) else {}
                zone = str(value) if name in ZONES else zone
    return found, zone


def _entries(node: ast.Dict, names: Mapping[str, Any]) -> list[Entry]:
    pairs, known = zip(node.keys, node.values, strict=True), dict(names)
    return [(key if key is not None else ast.Constant("**", lineno=value.lineno), value, known) for key, value in pairs]


def _subscript(node: ast.expr) -> str:
    """`conf["beat_schedule"] = …`."""
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        return str(node.slice.value)
    return ""


def _constant(node: ast.expr, names: Mapping[str, Any]) -> Any:
    try:
        return value_of(node, names)
    except Unreadable:
        return None


def _read(key: ast.expr, value: ast.expr, names: Mapping[str, Any], timezone: str) -> Given:
    line = key.lineno
    try:
        name = str(value_of(key, names))
    except Unreadable as error:
        return Given(f"line {line}", line=error.line, error=_sentence(error))
    try:
        return _entry(name, value_of(value, names), timezone, line)
    except Unreadable as error:
        return Given(name, line=error.line, error=_sentence(error))


def _entry(name: str, value: Any, timezone: str, line: int | None) -> Given:
    if not isinstance(value, Mapping) or not {"task", "schedule"} <= value.keys():
        return Given(name, line=line, error="A dict with “task” and “schedule” is needed.")
    options = value.get("options") or {}
    notes = [f"“{key}” has no place here and is left out." for key in sorted({*value} - _ENTRY, key=str)]
    if not isinstance(options, Mapping):
        return Given(name, line=line, error="Its options are no dict.")
    notes += [
        f"The option “{key}” has no place here and is left out." for key in sorted({*options} - _OPTIONS, key=str)
    ]
    try:
        when = _when(value["schedule"], timezone)
        expires = _seconds(options.get("expires"))
    except ValueError as error:
        return Given(name, line=line, error=_sentence(error))
    fields = {
        "name": name,
        "task": value["task"],
        "args": list(value.get("args") or []),
        "kwargs": dict(value.get("kwargs") or {}),
        **{key: getattr(options.get(key), "name", options.get(key)) for key in ("queue", *TARGETS)},
        "priority": options.get("priority"),
        "expire_seconds": expires,
        **when,
    }
    return Given(name, fields, line, notes)


def _when(rule: Any, timezone: str) -> dict[str, Any]:
    """The fields of a schedule of Celery's. Raises ValueError with what is not understood."""
    if isinstance(rule, crontab):
        # What was written, and not what Celery made of it: "*/5" rather than twelve numbers.
        names = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")
        fields = [_cron_field(getattr(rule, f"_orig_{name}")) for name in names]
        return {"kind": "crontab", "crontab": " ".join(fields), "timezone": timezone}
    if isinstance(rule, solar):
        return {"kind": "solar", "event": rule.event, "latitude": rule.lat, "longitude": rule.lon}
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
    return interval(every)


def _cron_field(value: Any) -> str:
    if isinstance(value, str | int):
        return str(value).replace(" ", "") or "*"
    return ",".join(str(part) for part in sorted(value, key=str if any(isinstance(x, str) for x in value) else int))


def _seconds(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value < 2**31:
        raise ValueError(f"its option “expires” must be a number of seconds, but is {value!r:.80}")
    return round(value)


def _sentence(error: Exception) -> str:
    text = str(error)
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")
