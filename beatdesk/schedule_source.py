"""A project's `beat_schedule` as Python source with nothing to compute, which the server's import reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from celery import Celery
from celery.schedules import crontab, schedule, solar
from kombu.utils.json import dumps

from beatdesk.project import timezone_of

_CRONTAB = ("minute", "hour", "day_of_week", "day_of_month", "month_of_year")
_PARTS = ("task", "schedule", "args", "kwargs", "options", "relative")


def schedule_source(app: Celery) -> str:
    """The entries of a finalized app in its time zone. What cannot be written is refused by the import, by its name."""
    entries = (f"    {str(name)!r}: {_entry(entry)},\n" for name, entry in app.conf.beat_schedule.items())
    head = "from datetime import timedelta\nfrom celery.schedules import crontab, solar\n"
    return f"{head}timezone = {timezone_of(app)!r}\nbeat_schedule = {{\n{''.join(entries)}}}\n"


def _entry(entry: Any) -> str:
    given = entry if isinstance(entry, Mapping) else {name: getattr(entry, name, None) for name in _PARTS}
    texts = {str(name): _rule(value) if name == "schedule" else _literal(value) for name, value in given.items()}
    return "{" + ", ".join(f"{name!r}: {text}" for name, text in texts.items()) + "}"


def _rule(rule: Any) -> str:
    """The source of a rule. Only exact classes: a class of theirs may mean something else."""
    if isinstance(rule, int | float):
        return repr(rule)
    if type(rule) is crontab:
        fields = {name: getattr(rule, f"_orig_{name}") for name in _CRONTAB}
        return f"crontab({', '.join(f'{name}={text!r}' for name, text in fields.items())})"
    if type(rule) is solar:
        return f"solar({rule.event!r}, {rule.lat!r}, {rule.lon!r})"
    every = rule.run_every if type(rule) is schedule and not rule.relative else rule
    if isinstance(every, timedelta):
        return _span(every)
    return _unsupported(rule)


def _literal(value: Any) -> str:
    """The source of a value, with Celery's JSON for dates, decimals and the like."""
    if isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
        return "{" + ", ".join(f"{name!r}: {_literal(inner)}" for name, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_literal, value))}]"
    if isinstance(value, timedelta):
        return _span(value)
    try:
        return repr(json.loads(dumps(value)))
    except (TypeError, ValueError, RecursionError):
        return _unsupported(value)


def _span(value: timedelta) -> str:
    return f"timedelta(days={value.days}, seconds={value.seconds}, microseconds={value.microseconds})"


def _unsupported(value: Any) -> str:
    return f"unsupported({type(value).__name__!r})"
