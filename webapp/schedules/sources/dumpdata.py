"""What `manage.py dumpdata django_celery_beat` writes: a JSON list of objects with model, primary key and fields."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from webapp.encoding import STRICT_NUMBERS
from webapp.schedules.sources.given import Given, check_names, refuse
from webapp.schedules.sources.library import RULES, from_row

APP = "django_celery_beat."


def looks_like_dumpdata(text: str) -> bool:
    """Whether a text is most likely this."""
    return text.lstrip()[:1] == "[" and f'"{APP}' in text


def from_dumpdata(text: str, now: datetime) -> list[Given]:
    """The schedules of a dump; objects of other applications are passed over. Raises Invalid."""
    rules: dict[tuple[str, str], Mapping[str, Any]] = {}
    tasks: list[tuple[Mapping[str, Any], int]] = []
    for thing, line in _objects(text):
        model = str(thing.get("model", "")).lower()
        fields = thing.get("fields")
        if not model.startswith(APP):
            continue
        if not isinstance(fields, dict):
            raise refuse(f"“{model}” has no fields.", line)
        if model == f"{APP}periodictask":
            tasks.append((fields, line))
        else:
            rules[model.removeprefix(APP).removesuffix("schedule"), str(thing.get("pk"))] = fields
    if not tasks:
        raise refuse("There is no object of the model django_celery_beat.periodictask in it.")
    return check_names([_given(fields, rules, now, line) for fields, line in tasks])


def _given(
    fields: Mapping[str, Any], rules: Mapping[tuple[str, str], Mapping[str, Any]], now: datetime, line: int
) -> Given:
    name = str(fields.get("name") or "")
    named = [kind for kind in RULES if fields.get(kind) is not None]
    if len(named) != 1:
        return Given(name, line=line, error="It names no schedule, or more than one.")
    kind = named[0]
    rule = rules.get((kind, str(fields[kind])))
    if rule is None:
        return Given(
            name, line=line, error=f"Its {kind} {fields[kind]} is not in the file: dump the whole application."
        )
    return from_row(fields, kind, rule, now, line)


def _objects(text: str) -> list[tuple[dict[str, Any], int]]:
    """Each object of the list with its line. Raises Invalid."""
    decoder, place, line = json.JSONDecoder(**STRICT_NUMBERS), text.find("[") + 1, 1
    found: list[tuple[dict[str, Any], int]] = []
    try:
        counted = 0
        while True:
            while text[place] in " \t\r\n,":
                place += 1
            if text[place] == "]":
                return found
            line, counted = line + text.count("\n", counted, place), place
            thing, place = decoder.raw_decode(text, place)
            if not isinstance(thing, dict):
                raise refuse("Objects with a model and fields are needed.", line)
            found.append((thing, line))
    except IndexError:
        raise refuse("This is not JSON: the list does not end.", line) from None
    except (ValueError, RecursionError) as error:
        raise refuse(f"This is not JSON: {error}.", line) from error
