"""Parses a crontab into the choices of the crontab builder, if they can express it. Pure functions.

The result is verified by building it again: it must have the same five fields and behave the same at clock changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from webapp.recurrence import Crontab, RecurrenceError
from webapp.recurrence.fields import FIELD_NAMES, MONTHS, WEEKDAYS, parse_field
from webapp.schedules.editor.crontab_builder import DEFAULTS, HOUR_STEPS, LAST_DAYS, NTH, STEPS, WEEK, build
from webapp.schedules.rule_fields import SHORTCUTS
from webapp.web.errors import Invalid

Choices = Mapping[str, str]
# The form field with the crontab for which the choices were shown.
LINE = "build.line"
_EVERY = {"minute": 60, "hour": 24, "day_of_month": 31, "month_of_year": 12, "day_of_week": 7}
_WORKING = (1, 2, 3, 4, 5)
_BY_MINUTES = {tuple(range(0, 60, int(step))): step for step in STEPS}
_BY_HOURS = {tuple(range(0, 24, int(step))): step for step in HOUR_STEPS}


@dataclass(frozen=True, slots=True)
class Read:
    """The choices for a crontab; None if they cannot express it: `beyond` names the part that they cannot.

    Both are empty for a crontab that is missing or invalid.
    """

    choices: dict[str, str] | None = None
    beyond: str = ""


@dataclass(frozen=True, slots=True)
class _Fields:
    """The five fields as text and as numbers."""

    text: Mapping[str, str]
    numbers: Mapping[str, tuple[int, ...]]

    def is_all(self, name: str) -> bool:
        """Whether a field has all of its numbers."""
        return len(self.numbers[name]) == _EVERY[name]

    @property
    def meaning(self) -> tuple[object, ...]:
        """A key that is equal for crontabs with the same due times, at clock changes too (see `recurrence.cron`)."""
        rhythm = self.text["minute"].startswith("*") or self.text["hour"].startswith("*")
        return rhythm, *(self.numbers[name] for name in FIELD_NAMES)


def read_back(line: str) -> Read:
    """The choices from which `build` makes an equivalent crontab."""
    try:
        given = _fields(SHORTCUTS.get(line.strip().lower(), line))
    except RecurrenceError:
        return Read()
    month = _month(given)
    times, days = list(_times(given)), list(_days(given))
    if month is None or not times or not days:
        return Read(beyond=_beyond(given, month=month is None, time=not times))
    tried = [{**DEFAULTS, **time, **day, "build.month": month} for time in times for day in days]
    fitting = [
        (built, choices) for choices in tried if (built := _built(choices)) and _fields(built).meaning == given.meaning
    ]
    if not fitting:
        return Read(beyond="its exact form matters when clocks change")
    # Of several equivalent ones, the one with exactly the same text.
    exact = (choices for built, choices in fitting if built == " ".join(line.split()))
    return Read(next(exact, fitting[0][1]))


@dataclass(frozen=True, slots=True)
class Shown:
    """The builder beside a crontab: its choices, the part they cannot express, and whether they express it."""

    choices: Mapping[str, str]
    beyond: str
    says: bool
    line: str


def shown(line: str, posted: Choices | None = None) -> Shown:
    """The builder's choices: those that were `posted`, or those for the crontab if it was typed since."""
    read = read_back(line)
    choices = read.choices or DEFAULTS
    if posted and posted.get(LINE, line) == line:
        choices = _posted(posted)
    return Shown(choices, read.beyond, read.choices is not None or choices != DEFAULTS, line)


def is_typed(line: str, posted: Choices) -> bool:
    """Whether a valid crontab was typed since the choices were shown."""
    return LINE in posted and posted[LINE] != line and read_back(line) != Read()


def filled_in(given: Mapping[str, Any], posted: Choices) -> dict[str, Any]:
    """The fields with the crontab of changed choices; unchanged otherwise.

    The last change counts: a crontab that was typed since the choices were shown stays. Raises Invalid at choices
    that no crontab can express.
    """
    line = str(given.get("crontab", ""))
    if given.get("kind") != "crontab" or posted.get(LINE) != line:
        return dict(given)
    before = read_back(line).choices or DEFAULTS
    after = _posted(posted)
    if after == before or (built := build(after).line) == build(before).line:
        return dict(given)
    return {**given, "crontab": built}


def _posted(posted: Choices) -> dict[str, str]:
    """The choices of a form. Browsers do not send the weekdays if none is ticked."""
    return {name: posted.get(name, value) for name, value in DEFAULTS.items()}


def _fields(line: str) -> _Fields:
    crontab = Crontab.from_line(line)
    text = {name: str(getattr(crontab, name)) for name in FIELD_NAMES}
    return _Fields(text, {name: parse_field(name, value) for name, value in text.items()})


def _built(choices: Choices) -> str:
    try:
        return build(choices).line
    except Invalid:
        return ""


def _times(given: _Fields) -> Iterator[dict[str, str]]:
    """Possible choices for minute and hour."""
    minutes, hours = given.numbers["minute"], given.numbers["hour"]
    span = _span(hours)
    if minutes in _BY_MINUTES and span is not None:
        yield {"build.time": "minutes", "build.step": _BY_MINUTES[minutes], **span}
    if len(minutes) > 1:
        return
    past = {"build.past": str(minutes[0])}
    if len(hours) == 1:
        yield {"build.time": "at", "build.at": f"{hours[0]:02}:{minutes[0]:02}"}
    if span is not None:
        yield {"build.time": "hourly", **past, **span}
    if hours in _BY_HOURS:
        yield {"build.time": "hours", "build.hours": _BY_HOURS[hours], **past}


def _span(hours: Sequence[int]) -> dict[str, str] | None:
    """The first and last of consecutive hours, over midnight too; None if they are not consecutive."""
    if len(hours) == _EVERY["hour"]:
        return {"build.from": "", "build.to": ""}
    begins = [hour for hour in hours if (hour - 1) % 24 not in hours]
    if len(begins) != 1:
        return None
    return {"build.from": str(begins[0]), "build.to": str((begins[0] + len(hours) - 1) % 24 + 1)}


def _days(given: _Fields) -> Iterator[dict[str, str]]:
    """Possible choices for day of month and day of week."""
    days, week = given.numbers["day_of_month"], given.numbers["day_of_week"]
    if given.is_all("day_of_month"):
        if given.is_all("day_of_week"):
            yield {"build.days": "all"}
            return
        if week == _WORKING:
            yield {"build.days": "working"}
        names = {WEEKDAYS[number][:3] for number in week}
        yield {"build.days": "week", "build.week": ",".join(name for name, _ in WEEK if name in names)}
    elif given.is_all("day_of_week"):
        if len(days) == 1:
            yield {"build.days": "month", "build.day": str(days[0])}
    elif len(week) == 1:
        yield from _nth(days, WEEKDAYS[week[0]][:3], given.numbers["month_of_year"])


def _nth(days: Sequence[int], weekday: str, months: Sequence[int]) -> Iterator[dict[str, str]]:
    first, length = days[0], len(days)
    if length != 7 or days[-1] != first + 6:
        return
    if str(first) in dict(NTH):
        yield {"build.days": "nth", "build.weekday": weekday, "build.nth": str(first)}
    month = MONTHS[months[0] - 1][:3]
    if len(months) == 1 and days[-1] == LAST_DAYS[month]:
        yield {"build.days": "last", "build.weekday": weekday, "build.of": month}


def _month(given: _Fields) -> str | None:
    months = given.numbers["month_of_year"]
    if given.is_all("month_of_year"):
        return "*"
    return MONTHS[months[0] - 1][:3] if len(months) == 1 else None


def _beyond(given: _Fields, *, month: bool, time: bool) -> str:
    """The part of a crontab that the choices cannot express."""
    if time:
        minutes = given.numbers["minute"]
        odd = "hour" if len(minutes) == 1 or minutes in _BY_MINUTES else "minute"
        return f"{odd}s {given.text[odd]}"
    if month:
        return f"months {given.text['month_of_year']}"
    return f"days {given.text['day_of_month']} {given.text['day_of_week']}"
