"""Imports the output of `manage.py dumpdata django_celery_beat`: objects with model, primary key and fields."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from webapp.schedules.sources.fixture import find_fixture, read_fixture
from webapp.schedules.sources.given import Given, check_names, refuse
from webapp.schedules.sources.library import RULES, from_row

APP = "django_celery_beat."
_SAME_KEY = "Another entry has the same pk: loading the dump would keep only the last of them."
Row = tuple[Mapping[str, Any], int]


def looks_like_dumpdata(text: str) -> bool:
    """Whether a text is probably such a dump."""
    return APP in text and find_fixture(text) is not None


def from_dumpdata(text: str, now: datetime, timezone: str) -> list[Given]:
    """The schedules of a dump; objects of other applications are ignored.

    `timezone` is the default for crontabs and times without a time zone. Raises Invalid.
    """
    rules: dict[tuple[str, str], list[Row]] = {}
    tasks: list[tuple[Row, str]] = []
    things, found = read_fixture(text)
    for thing, line in things:
        model = str(thing.get("model", "")).lower() if isinstance(thing, dict) else None
        if model and not model.startswith(APP):
            continue
        fields = thing.get("fields") if model else None
        if not isinstance(fields, dict):
            found.append(Given(f"line {line}", line=line, error="This is not an object with a model and its fields."))
        elif model == f"{APP}periodictask":
            tasks.append(((fields, line), str(thing.get("pk"))))
        else:
            kind = str(model).removeprefix(APP).removesuffix("schedule")
            rules.setdefault((kind, str(thing.get("pk"))), []).append((fields, line))
    if not tasks:
        raise refuse("The dump has no object of the model django_celery_beat.periodictask.")
    count = Counter(key for _row, key in tasks if key != "None")
    for (fields, line), key in tasks:
        one = _given(fields, rules, now, line, timezone)
        found.append(replace(one, notes=[*one.notes, _SAME_KEY]) if count[key] > 1 else one)
    return check_names(sorted(found, key=lambda one: one.line or 0))


def _given(
    fields: Mapping[str, Any], rules: Mapping[tuple[str, str], list[Row]], now: datetime, line: int, timezone: str
) -> Given:
    name = str(fields.get("name") or "")
    named = [kind for kind in RULES if fields.get(kind) is not None]
    if len(named) != 1:
        return Given(name, line=line, error="It refers to no schedule or to several.")
    kind = named[0]
    found = rules.get((kind, str(fields[kind])), [])
    place = f"{kind} {fields[kind]}"
    if not found:
        return Given(name, line=line, error=f"Its {place} is not in the file: dump the whole application.")
    if any(other != found[0][0] for other, _line in found):
        lines = " and ".join(str(each) for _fields, each in found)
        return Given(name, line=line, error=f"Its {place} is in the file more than once, on lines {lines}.")
    return from_row(fields, kind, found[0][0], now, line, timezone=timezone)
