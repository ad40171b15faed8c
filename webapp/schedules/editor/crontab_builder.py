"""Builds a crontab from the choices of a form. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import time

from webapp.recurrence.fields import MONTHS, WEEKDAYS
from webapp.schedules import fields
from webapp.schedules.fields import FieldError
from webapp.web.errors import Invalid

PREFIX = "build."
TIMES = (
    ("at", "at a set time"),
    ("minutes", "every N minutes"),
    ("hourly", "every hour"),
    ("hours", "every N hours"),
)
DAYS = (
    ("all", "every day"),
    ("working", "Monday to Friday"),
    ("week", "on certain weekdays"),
    ("month", "on a day of the month"),
    ("nth", "first to fourth weekday of the month"),
    ("last", "last weekday of a month"),
)
NTH = (("1", "first"), ("8", "second"), ("15", "third"), ("22", "fourth"))
# Steps that divide an hour evenly; a crontab's steps start again at every full hour.
STEPS = ("1", "2", "3", "4", "5", "6", "10", "12", "15", "20", "30")
# The same for a day; steps of hours start again at midnight.
HOUR_STEPS = ("2", "3", "4", "6", "8", "12")
WEEK = tuple((name[:3], name.capitalize()) for name in (*WEEKDAYS[1:], WEEKDAYS[0]))
HOURS = tuple((str(hour), f"{hour:02}:00") for hour in range(25))
MONTH_CHOICES = (("*", "every month"), *((name[:3], name.capitalize()) for name in MONTHS))
DEFAULTS = {
    "build.time": "at", "build.at": "08:00", "build.step": "15", "build.hours": "2", "build.past": "0",
    "build.from": "", "build.to": "", "build.days": "all", "build.week": "", "build.day": "1", "build.nth": "1",
    "build.weekday": "sun", "build.month": "*", "build.of": "jan",
}  # fmt: skip
# The last day of each month that every year has.
LAST_DAYS = {
    "jan": 31, "feb": 28, "mar": 31, "apr": 30, "may": 31, "jun": 30,
    "jul": 31, "aug": 31, "sep": 30, "oct": 31, "nov": 30, "dec": 31,
}  # fmt: skip
_LONGEST_EVERYWHERE = 28
_LEAP_DAY = 29


@dataclass(frozen=True, slots=True)
class Built:
    """A crontab of five fields, and a note for the user about it."""

    line: str
    note: str = ""


def build(given: Mapping[str, str]) -> Built:
    """The crontab for the choices; `given` has the names of DEFAULTS. Raises Invalid at them."""
    chosen = {**DEFAULTS, **given}
    errors: dict[str, str] = {}
    minute, hour, about_time = _time(chosen, errors)
    day, weekday, about_day = _day(chosen, errors)
    # Months differ in length, so a crontab can have the last weekday of one month only.
    name = "build.of" if chosen["build.days"] == "last" else "build.month"
    month = chosen[name]
    if month not in dict(MONTH_CHOICES[1:] if name == "build.of" else MONTH_CHOICES):
        errors[name] = "Choose a month."
    if errors:
        raise Invalid(errors)
    return Built(f"{minute} {hour} {day} {month} {weekday}", " ".join(filter(None, (about_time, about_day))))


def _time(chosen: Mapping[str, str], errors: dict[str, str]) -> tuple[str, str, str]:
    """The fields for minute and hour, and a note."""
    if chosen["build.time"] == "at":
        try:
            at = time.fromisoformat(chosen["build.at"])
        except ValueError:
            errors["build.at"] = "Enter a time such as 08:30."
            return "", "", ""
        return str(at.minute), str(at.hour), ""
    if chosen["build.time"] == "hours":
        every = chosen["build.hours"]
        if every not in HOUR_STEPS:
            errors["build.hours"] = f"Choose one of {', '.join(HOUR_STEPS)}; for other steps, use an interval."
        return str(_number(chosen, "build.past", 0, 59, errors)), f"*/{every}", "The count restarts at midnight."
    hours, note = _hours(chosen, errors)
    if chosen["build.time"] == "hourly":
        return str(_number(chosen, "build.past", 0, 59, errors)), hours, note
    step = chosen["build.step"]
    if step not in STEPS:
        errors["build.step"] = f"Choose one of {', '.join(STEPS)}; for other steps, use an interval."
    return ("*" if step == "1" else f"*/{step}"), hours, note


def _hours(chosen: Mapping[str, str], errors: dict[str, str]) -> tuple[str, str]:
    """The field for hours from one up to another, which is excluded, and a note."""
    if not chosen["build.from"].strip() and not chosen["build.to"].strip():
        return "*", ""
    # If only one of them is given, the other is the beginning or the end of the day.
    first = _number(chosen, "build.from", 0, 23, errors) if chosen["build.from"].strip() else 0
    end = _number(chosen, "build.to", 1, 24, errors) if chosen["build.to"].strip() else 24
    if errors.keys() & {"build.from", "build.to"}:
        return "*", ""
    if first == end or (first, end) == (0, 24):
        return "*", ""
    last = (end - 1) % 24
    hours = str(first) if first == last else f"{first}-{last}"
    return hours, f"The last run is before {end:02}:00, not at {end:02}:00."


def _day(chosen: Mapping[str, str], errors: dict[str, str]) -> tuple[str, str, str]:
    """The fields for day of month and day of week, and a note."""
    match chosen["build.days"]:
        case "all":
            return "*", "*", ""
        case "working":
            return "*", "mon-fri", ""
        case "week":
            return "*", _weekdays(chosen["build.week"], errors), ""
        case "month":
            return _day_of_month(chosen, errors)
        case "nth" | "last" as which:
            return (_nth if which == "nth" else _last)(chosen, errors)
        case _:
            errors["build.days"] = "Choose the days."
            return "*", "*", ""


def _weekdays(text: str, errors: dict[str, str]) -> str:
    chosen = {part.strip() for part in text.split(",")}
    found = [name for name, _ in WEEK if name in chosen]
    if not found:
        errors["build.week"] = "Choose at least one day."
    return ",".join(found) if len(found) < len(WEEK) else "*"


def _day_of_month(chosen: Mapping[str, str], errors: dict[str, str]) -> tuple[str, str, str]:
    day, month = _number(chosen, "build.day", 1, 31, errors), chosen["build.month"]
    note = ""
    if day > _LONGEST_EVERYWHERE and month == "*":
        note = f"Months without a day {day} are skipped."
    elif month == "feb" and day == _LEAP_DAY:
        note = "Runs only in leap years."
    elif day > max(LAST_DAYS.get(month, 31), _LEAP_DAY):
        errors["build.day"] = f"{dict(MONTH_CHOICES)[month]} has no day {day}."
    return str(day), "*", note


def _nth(chosen: Mapping[str, str], errors: dict[str, str]) -> tuple[str, str, str]:
    """The weekday within seven consecutive days: a crontab's day must match both fields."""
    which, weekday = chosen["build.nth"], _weekday(chosen, errors)
    if which not in dict(NTH):
        errors["build.nth"] = "Choose which one."
        return "*", "*", ""
    return f"{which}-{int(which) + 6}", weekday, ""


def _last(chosen: Mapping[str, str], errors: dict[str, str]) -> tuple[str, str, str]:
    """The weekday within the last seven days of a month."""
    weekday, month = _weekday(chosen, errors), chosen["build.of"]
    last, day = LAST_DAYS.get(month, 0), dict(WEEK).get(weekday)
    note = f"The last {day} falls on day {last - 6} to {last}."
    if month == "feb":
        note = f"In leap years in which 29 February is a {day}, it runs on the {day} before."
    return f"{last - 6}-{last}", weekday, note


def _weekday(chosen: Mapping[str, str], errors: dict[str, str]) -> str:
    weekday = chosen["build.weekday"]
    if weekday not in dict(WEEK):
        errors["build.weekday"] = "Choose a day of the week."
    return weekday


def _number(chosen: Mapping[str, str], name: str, low: int, high: int, errors: dict[str, str]) -> int:
    try:
        return fields.whole(chosen[name], low, high)
    except FieldError as error:
        errors[name] = str(error)
        return low
