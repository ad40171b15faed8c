"""When a schedule repeats: one body for each kind, read from a form or from JSON alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, Field, ValidationInfo, WithJsonSchema

from webapp.recurrence import PERIODS, SOLAR_EVENTS, Crontab, Interval, OneTime, RecurrenceError, Rule, Solar
from webapp.recurrence.zones import zone
from webapp.schedule_store.definition import Kind
from webapp.schedules import fields
from webapp.schedules.fields import FieldError
from webapp.web.bodies import Body, context_of, needed, read_values

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
DEGREES = {"latitude": 90, "longitude": 180}
# What the library's columns hold.
CRONTAB_LENGTHS = {"minute": 240, "hour": 96, "day_of_month": 124, "month_of_year": 64, "day_of_week": 64}


def _read_crontab(value: Any) -> Crontab:
    """Five fields or a shortcut such as `@daily`; tabs are blanks. Raises FieldError."""
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


def _read_degrees(value: object, info: ValidationInfo) -> float:
    limit = DEGREES[info.field_name or ""]
    # The library's column keeps six decimals: a tenth of a metre.
    degrees = round(fields.decimal(value), 6)
    if not -limit <= degrees <= limit:
        raise FieldError(f"It must be from -{limit} to {limit} degrees.")
    return degrees


def read_moment(value: object, info: ValidationInfo) -> datetime:
    """A moment, on the clock of `zone` in the context or of the body's own time zone where it has no offset."""
    return fields.moment(value, context_of(info).get("zone") or zone(info.data["timezone"]))


Moment = Annotated[datetime, BeforeValidator(read_moment)]
Degrees = Annotated[float, BeforeValidator(_read_degrees)]
WHOLE = BeforeValidator(fields.whole)


class IntervalRule(Body):
    """How often."""

    every: Annotated[int, Field(ge=1), WHOLE, needed("Enter a whole number.")]
    period: Annotated[
        str,
        Field(json_schema_extra={"enum": list(PERIODS)}),
        BeforeValidator(partial(fields.choice, options=PERIODS, synonyms=PERIOD_SYNONYMS)),
    ]


class CrontabRule(Body):
    """Five fields, or a shortcut such as `@daily`."""

    crontab: Annotated[
        Crontab,
        BeforeValidator(_read_crontab),
        needed("Enter five fields such as 30 8 * * mon-fri."),
        WithJsonSchema({"type": "string", "examples": ["30 8 * * mon-fri"]}),
    ]


class SolarRule(Body):
    """An event of the sun at a place."""

    event: Annotated[
        str,
        Field(json_schema_extra={"enum": list(SOLAR_EVENTS)}),
        BeforeValidator(partial(fields.choice, options=SOLAR_EVENTS)),
    ]
    latitude: Annotated[Degrees, needed("Enter the latitude in degrees.")]
    longitude: Annotated[Degrees, needed("Enter the longitude in degrees.")]


class OneTimeRule(Body):
    """One moment."""

    at: Annotated[Moment, needed("Enter a date and time.")]


# The body of each kind, and the rule that its fields make.
RULES: dict[Kind, tuple[type[Body], Callable[..., Rule]]] = {
    Kind.INTERVAL: (IntervalRule, Interval),
    Kind.CRONTAB: (CrontabRule, lambda crontab: crontab),
    Kind.SOLAR: (SolarRule, Solar),
    Kind.CLOCKED: (OneTimeRule, OneTime),
}


def read_rule(kind: str, given: Mapping[str, Any], tz: ZoneInfo) -> Rule:
    """The rule of a kind. Raises Invalid at its fields."""
    body, rule = RULES[Kind(kind)]
    return rule(**dict(read_values(body, given, zone=tz)))
