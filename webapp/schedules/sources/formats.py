"""Detects the format of an import and parses it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from beatdesk.encoding import encodable_value
from webapp.schedules import fields
from webapp.schedules.sources.crontab_file import from_crontab, looks_like_crontab
from webapp.schedules.sources.dumpdata import from_dumpdata, looks_like_dumpdata
from webapp.schedules.sources.given import MAX_FILE_LENGTH, Given, check_values, refuse
from webapp.schedules.sources.python.beat_schedule import from_source, looks_like_beat_schedule
from webapp.schedules.sources.yaml_file import from_yaml, looks_like_own
from webapp.task_catalogue.registry import is_unknown
from webapp.web.errors import Invalid

_UNKNOWN = "The task “{}” is not registered, so it is imported disabled. It can be enabled once the task is registered."
# The formats, with their names on pages.
FORMATS = {
    "yaml": "YAML or JSON, as the export writes it",
    "beat_schedule": "Celery's beat_schedule, Python source",
    "dumpdata": "django-celery-beat, as dumpdata writes it",
    "crontab": "a crontab file",
}


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """Options of an import. Without a format it is detected; `tasks` maps the commands of a crontab to tasks.

    `timezone` is the default for times without a time zone. Celery's beat_schedule has a default of its own, so it
    applies there only if the user has chosen it.
    """

    format: str = ""
    timezone: str = "UTC"
    tasks: Mapping[str, str] = field(default_factory=dict)
    timezone_chosen: bool = False


def guess(text: str) -> str:
    """The most probable format of a text."""
    if looks_like_own(text):
        return "yaml"
    if looks_like_dumpdata(text):
        return "dumpdata"
    if looks_like_crontab(text):
        return "crontab"
    return "beat_schedule" if looks_like_beat_schedule(text) else "yaml"


def decode(data: bytes) -> str:
    """The text of a file in UTF-8, UTF-16 or UTF-32, with a byte order mark or without. Raises Invalid."""
    try:
        text = data.decode(json.detect_encoding(data))
    except UnicodeDecodeError:
        raise refuse("This is not text in UTF-8 or UTF-16.") from None
    return text.replace("\r\n", "\n")


def read_zone(text: str) -> str:
    """The IANA name of the default time zone. Raises Invalid at `timezone`."""
    try:
        return fields.timezone(text)
    except fields.FieldError as error:
        raise Invalid({"timezone": str(error)}) from error


def read(text: str, options: ImportOptions, now: datetime) -> list[Given]:
    """The entries of a text, with half surrogates escaped. Raises Invalid if the text as a whole is invalid."""
    if len(text) > MAX_FILE_LENGTH:
        raise refuse(f"Use at most {MAX_FILE_LENGTH:,} characters; this has {len(text):,}. Import it in parts.")
    options = replace(options, timezone=read_zone(options.timezone))
    # The byte order mark, which Windows puts before UTF-8 text, also when it was pasted or printed.
    found = _read(text.removeprefix("\ufeff"), options, now)
    check_values(found)
    return [replace(one, name=encodable_value(one.name), fields=encodable_value(dict(one.fields))) for one in found]


def disable_unknown(found: Sequence[Given]) -> list[Given]:
    """The entries of other programs, disabled if their task is not registered, which is an error in our own files."""
    return [
        replace(one, fields={**one.fields, "enabled": False}, notes=[*one.notes, _UNKNOWN.format(one.fields["task"])])
        if is_unknown(str(one.fields.get("task") or "").strip())
        else one
        for one in found
    ]


def _read(text: str, options: ImportOptions, now: datetime) -> list[Given]:
    match options.format if options.format in FORMATS else guess(text):
        case "beat_schedule":
            return disable_unknown(from_source(text, options.timezone if options.timezone_chosen else ""))
        case "dumpdata":
            return disable_unknown(from_dumpdata(text, now, options.timezone))
        case "crontab":
            return disable_unknown(from_crontab(text, options.timezone, options.tasks))
        case _:
            return from_yaml(text)
