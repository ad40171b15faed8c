"""What a source says of one schedule, in the fields of ours, before anything is checked."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from webapp.encoding import MAX_JSON_DEPTH
from webapp.recurrence.values import MICROSECONDS
from webapp.web.errors import Invalid

MOST = 10_000
MAX_FILE_LENGTH = 8_000_000  # characters
# Values in a whole file, with what an alias or a name repeats counted each time, and how deep they lie in each other.
MAX_VALUES = 500_000
# Of the arguments, and of the file, its list and the entry around them.
MAX_DEPTH = MAX_JSON_DEPTH + 4
MAX_KEY_LENGTH = 255
UNNAMED = "an entry without a name"


@dataclass(frozen=True, slots=True)
class Given:
    """One entry: its fields, the line where it stands, and what people should know of its translation.

    `error` says why it cannot be translated; `skipped` why it is left out, which stops nothing. `command` is what a
    line of a crontab runs, where nobody has said yet which task that is. `anchor` is where a new interval's grid
    begins, so that it keeps the phase that it had.
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
    """What is wrong with a whole file, and on which line."""
    return Invalid({"file": text if line is None else f"Line {line}: {text}"})


def check_values(found: Sequence[Given]) -> None:
    """Raises Invalid where the fields of all entries together are more than `MAX_VALUES`, or too deep.

    A few lines whose names or aliases repeat each other can stand for more values than a machine can walk through.
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
    """The entries, at most MOST, their names as schedules have them. Raises Invalid.

    Two may have the same name: which of them is meant is decided when they are imported.
    """
    if len(found) > MOST:
        raise refuse(f"Import at most {MOST:,} schedules at a time.")
    return [replace(one, name=unicodedata.normalize("NFC", one.name).strip()) for one in found]


def entry_keys(found: Sequence[Given]) -> list[str]:
    """What each entry is called where it is left out: its name, with its place where another one has that name."""
    names = [" ".join(one.name.split())[:MAX_KEY_LENGTH] or UNNAMED for one in found]
    count = Counter(names)
    return [
        name if count[name] == 1 and name != UNNAMED else f"{name} (entry {number})"
        for number, name in enumerate(names, 1)
    ]


def interval(every: timedelta) -> dict[str, Any]:
    """A length of time in its largest whole unit. Raises ValueError when it is not longer than nothing."""
    microseconds = every // timedelta(microseconds=1)
    if microseconds <= 0:
        raise ValueError("an interval must be longer than 0 seconds")
    period = next(name for name, size in MICROSECONDS.items() if microseconds % size == 0)
    return {"kind": "interval", "every": microseconds // MICROSECONDS[period], "period": period}
