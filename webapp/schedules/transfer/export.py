"""Exports schedules as the text of a file, for page and command line.

A file has the definitions (`Definition.snapshot`), in YAML and JSON without default values; it has no ids, versions,
pauses and runs.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from beatdesk.encoding import MAX_JSON_DEPTH, encodable_value, json_depth, strict_json_value
from webapp.extensions import db
from webapp.schedule_store import secret_arguments, stored
from webapp.schedule_store.definition import DEFAULTS, FIELDS
from webapp.schedule_store.rows import TASKS, select_schedules
from webapp.schedule_store.stored import Stored
from webapp.schedules.sources.python.export import to_source
from webapp.schedules.sources.yaml_file import to_yaml
from webapp.secrecy.rows import sealed_places

TOO_DEEP = f"nested deeper than {MAX_JSON_DEPTH} levels"


@dataclass(frozen=True, slots=True)
class Format:
    """A format: its name, purpose, media type, and file name, in which `{}` is the date."""

    name: str
    purpose: str
    media_type: str
    file_name: str


FORMATS = {
    "yaml": Format("YAML", "to import again", "application/yaml", "schedules-{}.yaml"),
    "json": Format("JSON", "to import again", "application/json", "schedules-{}.json"),
    "python": Format("Python", "beat_schedule for Celery’s beat", "text/x-python", "beat_schedule.py"),
}


@dataclass(frozen=True, slots=True)
class Exported:
    """The text of a file; `sealed` has the places of secrets by name, encrypted with the SECRET_KEY."""

    text: str
    sealed: Mapping[str, Sequence[str]]


def export(format_: str, chosen: Collection[int] | None = None, *, with_seals: bool) -> Exported:
    """The schedules with these ids, or all, by name, in one of `FORMATS`.

    Secrets are masked, or sealed so that they can be imported again; in Python they are always masked.
    """
    if format_ == "python":
        return Exported(to_source([found.beat_values for found in schedules(chosen)]), {})
    found = entries(chosen, with_seals=with_seals)
    places = {str(one["name"]): sealed_places(one.get("args"), one.get("kwargs")) for one in found}
    sealed = {name: some for name, some in places.items() if some}
    return Exported(to_yaml(found, sealed) if format_ == "yaml" else to_json(found, sealed), sealed)


def schedules(chosen: Collection[int] | None = None) -> Sequence[Stored]:
    """The schedules with these ids, or all, by name."""
    if chosen is not None:
        return stored.find_many(db.session, chosen)
    return stored.load(db.session, select_schedules().order_by(TASKS.c.name))


def entries(chosen: Collection[int] | None = None, *, with_seals: bool = False) -> list[dict[str, Any]]:
    """Each schedule as an entry of a file, without default values."""
    shown = secret_arguments.exported if with_seals else secret_arguments.shown
    return [entry_of(shown(_readable(found.snapshot))) for found in schedules(chosen)]


def _readable(snapshot: Mapping[str, Any]) -> dict[str, Any]:
    """A snapshot with a text in place of arguments nested too deep, so that an import refuses only that entry."""
    deep = {name: TOO_DEEP for name in ("args", "kwargs") if json_depth(snapshot[name]) > MAX_JSON_DEPTH}
    return {**snapshot, **deep}


def entry_of(snapshot: Mapping[str, Any]) -> dict[str, Any]:
    """One schedule as an entry of a file, without default values."""
    return {
        name: snapshot[name]
        for name in FIELDS
        if name in snapshot and not (name in DEFAULTS and snapshot[name] == DEFAULTS[name])
    }


def to_json(found: Sequence[Mapping[str, Any]], sealed: Mapping[str, Sequence[str]] | None = None) -> str:
    """The text of a file, as `to_yaml`."""
    values = {"schedules": list(found)} | ({"sealed": sealed} if sealed else {})
    return json.dumps(encodable_value(strict_json_value(values)), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
