"""Schedules as the source of Celery's `beat_schedule`. What Celery cannot say stands in it as a comment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from webapp.schedules.definition import TARGETS
from webapp.schedules.secret_arguments import exported, shown
from webapp.secrecy.rows import sealed_places
from webapp.secrecy.text import MASK

HEAD = """from datetime import timedelta

from celery.schedules import crontab, solar

"""
# What Celery's own beat has nothing like.
_NO_LIKE = ("start", "end", "max_runs", "jitter", "failure_budget")
_FIELDS = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")


def to_source(snapshots: Sequence[Mapping[str, Any]]) -> str:
    """Python source; the snapshots have every field."""
    zones = Counter(str(one["timezone"]) for one in snapshots if one["kind"] == "crontab")
    zone = zones.most_common(1)[0][0] if zones else "UTC"
    entries = "".join(_entry(one, zone) for one in snapshots)
    return f"{HEAD}timezone = {zone!r}\n\nbeat_schedule = {{\n{entries}}}\n"


def _entry(one: Mapping[str, Any], zone: str) -> str:
    lost = _lost(one, zone)
    if one["kind"] == "clocked" or not one["enabled"]:
        why = "it runs once" if one["kind"] == "clocked" else "it is disabled"
        return f"    # {one['name']!r} is left out: {why}.\n"
    values: dict[str, Any] = {"task": repr(one["task"]), "schedule": _rule(one)}
    # Celery could not open what is sealed, and would hand it to the task as it is.
    values |= {name: repr(shown(one)[name]) for name in ("args", "kwargs") if one[name]}
    options = {name: one[name] for name in ("queue", *TARGETS, "priority")} | {"expires": one["expire_seconds"]}
    if options := {name: value for name, value in options.items() if value is not None}:
        values["options"] = repr(options)
    inside = "".join(f"        {name!r}: {text},\n" for name, text in values.items())
    notes = "".join(f"        # {text}\n" for text in lost)
    return f"    {one['name']!r}: {{\n{notes}{inside}    }},\n"


def _rule(one: Mapping[str, Any]) -> str:
    match one["kind"]:
        case "interval":
            return f"timedelta({one['period']}={one['every']})"
        case "crontab":
            parts = zip(_FIELDS, str(one["crontab"]).split(), strict=True)
            return f"crontab({', '.join(f'{name}={text!r}' for name, text in parts)})"
        case _:
            return f"solar({one['event']!r}, {one['latitude']}, {one['longitude']})"


def _lost(one: Mapping[str, Any], zone: str) -> list[str]:
    found = [f"Celery has nothing like {name} = {one[name]!r}." for name in _NO_LIKE if one[name]]
    if one["kind"] == "crontab" and one["timezone"] != zone:
        found.append(f"Its times are meant in {one['timezone']}; Celery has one time zone for all.")
    if places := sealed_places(*(exported(one)[name] for name in ("args", "kwargs"))):
        found.append(f"Secret, and not written here: {', '.join(places)}. Put the values in the places of {MASK}.")
    return found
