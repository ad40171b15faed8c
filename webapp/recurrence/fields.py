"""Parses the five fields of a crontab into numbers.

Celery's own parser defines their meaning, so that a row means the same here as to any Celery beat. The syntax is
checked before, because that parser ignores what follows a valid beginning (it reads `1-5-9` as `1-5`, and `mon#1` and
`monkey` as `mon`), accepts the name of a day as a minute, and raises errors about its own code.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from celery.schedules import crontab_parser

from webapp.recurrence.errors import RecurrenceError

FIELD_NAMES = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")
MONTHS = (
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
)  # fmt: skip
WEEKDAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")

_PART = re.compile(r"(?:\*|(?P<low>[a-z]+|[0-9]+)(?:-(?P<high>[a-z]+|[0-9]+))?)(?:/(?P<step>[0-9]+))?", re.IGNORECASE)
_NTH = re.compile(r"(?P<day>[a-z]{3,}|[0-6])#(?P<week>[1-5])", re.IGNORECASE)
_ABBREVIATION = 3  # Celery looks at the first three letters of a name


@dataclass(frozen=True, slots=True)
class _Kind:
    words: str
    low: int
    high: int
    names: tuple[str, ...] = ()
    hint: str = ""


_KINDS = {
    "minute": _Kind("a minute", 0, 59),
    "hour": _Kind("an hour", 0, 23),
    "day_of_month": _Kind("a day of the month", 1, 31),
    "month_of_year": _Kind("a month", 1, 12, MONTHS, " or jan to dec"),
    "day_of_week": _Kind("a day of the week", 0, 6, WEEKDAYS, ", Sunday is 0, or sun to sat"),
}


@lru_cache(maxsize=16_384)
def parse_field(name: str, text: str) -> tuple[int, ...]:
    """Return the numbers that a field stands for, in ascending order. Sunday is 0.

    A field is a comma-separated list of `*`, `*/step`, a value, a range, or `range/step`; a range may wrap around
    (`fri-mon`, `22-4`). A name is the English one or its beginning, at least three letters, also with an `s` after it
    (`weds`, `tuesdays`). Raises RecurrenceError with `name` as its field.
    """
    kind = _KINDS[name]
    parts = [part.strip() for part in text.split(",")]
    for part in parts:
        _check_part(name, kind, part)
    parser = crontab_parser(kind.high - kind.low + 1, kind.low)
    return tuple(sorted(parser.parse(",".join(parts))))


def _check_part(name: str, kind: _Kind, part: str) -> None:
    match = _PART.fullmatch(part)
    if match is None:
        problem = f"'{part}' is not understood" if part else "a value is missing"
        expected = f"{kind.words} ({_range(kind)}), *, a range or a step such as */2"
        raise RecurrenceError(name, f"{problem}; {_nth_words(kind, part) or f'expected {expected}'}")
    low, high, step = match.group("low", "high", "step")
    for value in (low, high):
        if value is not None and not _is_value(kind, value):
            raise RecurrenceError(name, f"{value} is not {kind.words} ({_range(kind)})")
    if step is None:
        return
    if low is not None and high is None:
        raise RecurrenceError(name, f"a step needs * or a range before it, such as {low}-{kind.high}/{step}")
    if int(step) < 1:
        raise RecurrenceError(name, "a step is at least 1")


def _nth_words(kind: _Kind, part: str) -> str:
    """How to write the first Monday of a month, for a field such as `mon#1` of other crons; else empty."""
    nth = _NTH.fullmatch(part) if kind.names == WEEKDAYS else None
    if nth is None or not _is_value(kind, nth["day"]):
        return ""
    first = 7 * int(nth["week"]) - 6
    days = f"{first}-{min(first + 6, 31)}"
    words = f"write {days} as the day of the month and {nth['day']} as the day of the week: a day must match both"
    overlooked = "Celery ignores what follows the name and would run it every week"
    return words if nth["day"].isdigit() else f"{words}. {overlooked}"


def _range(kind: _Kind) -> str:
    return f"{kind.low} to {kind.high}{kind.hint}"


def _is_value(kind: _Kind, value: str) -> bool:
    if value.isdigit():
        return kind.low <= int(value) <= kind.high
    word = value.lower()
    return any(
        len(start) >= _ABBREVIATION and name.startswith(start)
        for name in kind.names
        for start in (word, word.removesuffix("s"))
    )
