"""Parses the rule of a schedule from the fields of a form or of JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from webapp.recurrence import PERIODS, SOLAR_EVENTS, Crontab, Interval, OneTime, RecurrenceError, Rule, Solar
from webapp.schedule_store.definition import RULE_FIELDS, Kind
from webapp.schedules import fields
from webapp.schedules.fields import FieldError, empty

Value = TypeVar("Value")

KIND_SYNONYMS = {
    "one time": "clocked", "onetime": "clocked", "once": "clocked", "date": "clocked",
    "cron": "crontab", "sun": "solar", "every": "interval", "periodic": "interval",
}  # fmt: skip
PERIOD_SYNONYMS = {
    "day": "days", "hour": "hours", "minute": "minutes", "min": "minutes", "second": "seconds", "sec": "seconds",
    "microsecond": "microseconds",
}  # fmt: skip
SHORTCUTS = {
    "@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *", "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *",
}  # fmt: skip
# The lengths of the library's columns.
CRONTAB_LENGTHS = {"minute": 240, "hour": 96, "day_of_month": 124, "month_of_year": 64, "day_of_week": 64}


class Reader:
    """Parses fields one by one and collects their errors."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self.given = given
        self.errors: dict[str, str] = {}

    def read(self, name: str, reader: Callable[[Any], Value], default: Value) -> Value:
        """One field; `default` if it is invalid, so that the other fields can be checked too."""
        try:
            return reader(self.given.get(name))
        except FieldError as error:
            self.errors[name] = str(error)
            return default

    def optional(self, name: str, reader: Callable[[Any], Value]) -> Value | None:
        """One field that may be empty."""
        return None if empty(self.given.get(name)) else self.read(name, reader, None)


def read_rule(form: Reader, tz: ZoneInfo) -> Rule | None:
    """The rule from the fields of the chosen kind; None with the reasons in `form.errors` if it is invalid."""
    if empty(form.given.get("kind")):
        form.errors["kind"] = "Choose a kind of schedule."
        return None
    kind = form.read("kind", lambda value: fields.choice(value, Kind, KIND_SYNONYMS), "")
    if not kind:
        return None
    rule: Rule | None = None
    match Kind(kind):
        case Kind.INTERVAL:
            every = form.read("every", lambda value: fields.whole(_given(value, "Enter a whole number."), 1), 1)
            period = form.read("period", lambda value: fields.choice(value, PERIODS, PERIOD_SYNONYMS), "")
            rule = Interval(every, period)
        case Kind.CRONTAB:
            rule = form.read("crontab", _crontab, Crontab())
        case Kind.SOLAR:
            event = form.read("event", lambda value: fields.choice(value, SOLAR_EVENTS), "")
            rule = Solar(event, _degrees(form, "latitude", 90), _degrees(form, "longitude", 180))
        case Kind.CLOCKED:
            at = form.read("at", lambda value: fields.moment(_given(value, "Enter a date and time."), tz), None)
            rule = OneTime(at) if at is not None else None
    return rule if not form.errors.keys() & set(RULE_FIELDS[Kind(kind)]) else None


def _given(value: Any, otherwise: str) -> Any:
    if empty(value):
        raise FieldError(otherwise)
    return value


def _degrees(form: Reader, name: str, most: int) -> float:
    def read(value: Any) -> float:
        # The library's column has six decimals: a tenth of a metre.
        degrees = round(fields.decimal(_given(value, f"Enter the {name} in degrees.")), 6)
        if not -most <= degrees <= most:
            raise FieldError(f"It must be from -{most} to {most} degrees.")
        return degrees

    return form.read(name, read, 0.0)


def _crontab(value: Any) -> Crontab:
    """Five fields or a shortcut such as `@daily`; tabs count as blanks. Raises FieldError."""
    value = _given(value, "Enter five fields such as 30 8 * * mon-fri.")
    text = fields.line(value.replace("\t", " ") if isinstance(value, str) else value, most=600)
    try:
        found = Crontab.from_line(SHORTCUTS.get(text.lower(), text))
    except RecurrenceError as error:
        raise FieldError(sentence(error)) from error
    for name, most in CRONTAB_LENGTHS.items():
        if len(getattr(found, name)) > most:
            raise FieldError(f"{name.replace('_', ' ').capitalize()}: at most {most} characters.")
    return found


def sentence(error: RecurrenceError) -> str:
    """The message of a RecurrenceError as a sentence, with the name of the crontab's field."""
    text = str(error)
    if error.field in CRONTAB_LENGTHS and not text.startswith("this never fires"):
        text = f"{error.field.replace('_', ' ')}: {text}"
    return text[0].upper() + text[1:] + ("" if text.endswith(".") else ".")
