"""Entries of an import: one schedule of a source in Beatdesk's fields, before they are validated."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from beatdesk.encoding import MAX_JSON_DEPTH
from webapp.recurrence.values import MICROSECONDS
from webapp.web.errors import Invalid

MAX_ENTRIES = 10_000
MAX_FILE_LENGTH = 8_000_000  # characters
# Limits of a whole file; values that an alias or a name repeats count each time.
MAX_VALUES = 500_000
# The depth of arguments, and of the file, the list and the entry around them.
MAX_DEPTH = MAX_JSON_DEPTH + 4
MAX_KEY_LENGTH = 255
UNNAMED = "an entry without a name"


@dataclass(frozen=True, slots=True)
class Given:
    """One entry: its fields, its line, and notes on its translation.

    `error` is why it cannot be translated; `skipped` is why it is left out, which does not prevent the import.
    `command` is the command of a crontab's line whose task can be chosen. `anchor` is the beginning of a new
    interval's grid, so that it keeps its phase.
    """

    name: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    line: int | None = None
    notes: Sequence[str] = ()
    error: str | None = None
    skipped: str | None = None
    command: str | None = None
    anchor: datetime | None = None


TOO_MANY = f"The file has more than {MAX_VALUES:,} values. Import it in parts."
TOO_DEEP = f"It is nested deeper than {MAX_DEPTH} levels."


def refuse(text: str, line: int | None = None) -> Invalid:
    """The error for a whole file, with the line if there is one."""
    return Invalid({"file": text if line is None else f"Line {line}: {text}"})


def check_values(found: Sequence[Given]) -> None:
    """Refuse entries with more than `MAX_VALUES` values in total, or nested too deep. Raises Invalid.

    With names or aliases that repeat each other, a few lines can produce more values than can be processed.
    """
    left = MAX_VALUES
    for one in found:
        level: list[Any] = [one.fields]
        for _ in range(MAX_DEPTH):
            left -= len(level)
            if left < 0:
                raise refuse(TOO_MANY)
            level = list(islice(_inner(level), left + 1))
            if not level:
                break
        else:
            raise refuse(TOO_DEEP, one.line)


def _inner(level: Sequence[Any]) -> Iterator[Any]:
    for each in level:
        if isinstance(each, Mapping):
            yield from each.values()
        elif isinstance(each, list | tuple | set):
            yield from each


def check_names(found: Sequence[Given]) -> list[Given]:
    """The entries, at most MAX_ENTRIES, with normalized names. Raises Invalid.

    Names may be duplicate: the import lets the user leave entries out.
    """
    if len(found) > MAX_ENTRIES:
        raise refuse(f"Import at most {MAX_ENTRIES:,} schedules at a time.")
    return [replace(one, name=unicodedata.normalize("NFC", one.name).strip()) for one in found]


def entry_keys(found: Sequence[Given]) -> list[str]:
    """The key by which each entry can be left out: its name, with its position if the name is not unique."""
    names = [" ".join(one.name.split())[:MAX_KEY_LENGTH] or UNNAMED for one in found]
    count = Counter(names)
    return [
        name if count[name] == 1 and name != UNNAMED else f"{name} (entry {number})"
        for number, name in enumerate(names, 1)
    ]


def interval(every: timedelta) -> dict[str, Any]:
    """An interval in its largest whole unit. Raises ValueError unless it is longer than zero."""
    microseconds = every // timedelta(microseconds=1)
    if microseconds <= 0:
        raise ValueError("an interval must be longer than 0 seconds")
    period = next(name for name, size in MICROSECONDS.items() if microseconds % size == 0)
    return {"kind": "interval", "every": microseconds // MICROSECONDS[period], "period": period}
