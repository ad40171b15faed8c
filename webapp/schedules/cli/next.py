"""`flask schedules next`: the next due times of a stored schedule, or of a rule given by options."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

import click

from webapp.recurrence import (
    SOLAR_EVENTS,
    DueTime,
    Recurrence,
    RecurrenceError,
    Rule,
    describe,
    due_times,
    validate_recurrence,
)
from webapp.recurrence.zones import zone
from webapp.schedule_store.definition import due_values, iso
from webapp.schedules import fields
from webapp.schedules.fields import FieldError
from webapp.schedules.rule_fields import CRONTAB_LENGTHS, read_rule, sentence
from webapp.web.errors import Invalid

Lookup = Callable[[str], tuple[Recurrence, int] | None]
"""Finds the recurrence and the number of past runs of a stored schedule by its name; None if there is none."""

Value = TypeVar("Value")

MAX_DUE_TIMES = 10_000
_LENGTH = re.compile(r"(?P<every>[0-9]+)\s*(?P<unit>us|s|m|h|d)")
_PERIODS = {"us": "microseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
# The options for fields that have another name.
OPTIONS = {"every": "interval", "period": "interval", "event": "solar"} | dict.fromkeys(CRONTAB_LENGTHS, "crontab")


class _Refusal(click.ClickException):
    """One line on standard error, and exit code 2."""

    exit_code = 2


class _OneLineCommand(click.Command):
    """A command that reports invalid options in one line, without the usage text."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        try:
            return super().make_context(*args, **kwargs)
        except click.UsageError as error:
            raise _Refusal(error.format_message()) from error


def make_next_command(lookup: Lookup, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> click.Command:
    """Return the command `next`. `lookup` finds stored schedules by name; `now` gives an aware moment."""

    @click.command("next", cls=_OneLineCommand)
    @click.argument("name", required=False)
    @click.option(
        "--crontab",
        metavar="LINE",
        help="Five fields: minute, hour, day of month, month, day of week; or a shortcut such as @daily.",
    )
    @click.option("--interval", metavar="DURATION", help="A number and s, m, h or d, such as 10s.")
    @click.option("--solar", metavar="EVENT", help=f"One of {', '.join(SOLAR_EVENTS)}.")
    @click.option("--latitude", type=float, metavar="DEGREES", help="North of the equator, for --solar.")
    @click.option("--longitude", type=float, metavar="DEGREES", help="East of Greenwich, for --solar.")
    @click.option("--at", metavar="TIME", help="Once, at this time.")
    @click.option("--timezone", metavar="ZONE", help="IANA zone of the rule and of local times.  [default: UTC]")
    @click.option("--start", metavar="TIME", help="No run before this time; intervals count from it.")
    @click.option("--end", metavar="TIME", help="No run after this time.")
    @click.option("--after", metavar="TIME", help="Show due times after this time.  [default: now]")
    @click.option("--count", type=click.IntRange(1, MAX_DUE_TIMES), default=10, show_default=True)
    @click.option("--json", "as_json", is_flag=True, help="Print a list of objects with utc, local and note.")
    def next_command(**options: Any) -> None:
        """Show the next due times of the schedule NAME, or of the rule that the options give.

        A TIME is in ISO 8601, such as 2027-10-30T22:00:00Z; without an offset it is in the rule's zone. A time that
        occurs twice when clocks go back means the first one.
        """
        try:
            recurrence, done = parse_options(options, lookup)
            after = _time_option("after", options["after"], recurrence.timezone) or now()
            found = due_times(recurrence, after, options["count"], done)
        except RecurrenceError as error:
            raise _Refusal(f"--{OPTIONS.get(error.field, error.field)}: {sentence(error)}") from error
        as_json = options["as_json"]
        click.echo(json.dumps([*map(due_values, found)]) if as_json else _as_table(recurrence, found))

    return next_command


def parse_options(options: dict[str, Any], lookup: Lookup) -> tuple[Recurrence, int]:
    """Return the recurrence that a name or options mean, checked, and how many runs it has already made.

    Raises RecurrenceError for a rule that cannot work, and click's exception (exit code 2) for options that do not fit
    together or an unknown name.
    """
    name = options["name"]
    kinds = [kind for kind in ("crontab", "interval", "solar", "at") if options[kind] is not None]
    if name is not None:
        extra = [*kinds, *(option for option in ("timezone", "start", "end") if options[option] is not None)]
        if extra:
            raise _Refusal(f"use either the name of a schedule or --{extra[0]}, not both")
        stored = lookup(name)
        if stored is None:
            raise _Refusal(f"there is no schedule '{name}'")
        return stored
    if len(kinds) != 1:
        raise _Refusal("use the name of a schedule, or one of --crontab, --interval, --solar and --at")
    timezone = _parse_option("timezone", fields.timezone, options["timezone"] or "UTC")
    recurrence = Recurrence(
        rule=_rule(kinds[0], options, timezone),
        timezone=timezone,
        start=_time_option("start", options["start"], timezone),
        end=_time_option("end", options["end"], timezone),
    )
    validate_recurrence(recurrence)
    return recurrence, 0


def _rule(kind: str, options: dict[str, Any], timezone: str) -> Rule:
    """The rule, parsed like the fields of a form."""
    place = {name: options[name] for name in ("latitude", "longitude") if options[name] is not None}
    if kind != "solar" and place:
        raise _Refusal("--latitude and --longitude belong to --solar")
    match kind:
        case "crontab":
            given: dict[str, Any] = {"kind": kind, "crontab": options["crontab"]}
        case "interval":
            given = {"kind": kind, **_interval(options["interval"])}
        case "solar":
            if len(place) < 2:
                raise _Refusal("--solar needs --latitude and --longitude")
            given = {"kind": kind, "event": options["solar"], **place}
        case _:
            given = {"kind": "clocked", "at": options["at"]}
    try:
        return read_rule(given["kind"], given, zone(timezone))
    except Invalid as error:
        name, text = next(iter(error.fields.items()))
        raise _Refusal(f"--{OPTIONS.get(name, name)}: {text}") from error


def _interval(text: str) -> dict[str, Any]:
    match = _LENGTH.fullmatch(text.strip())
    if match is None:
        raise _Refusal(f"--interval: '{text}' is not a duration; use a number and s, m, h or d, such as 10s")
    return {"every": match["every"], "period": _PERIODS[match["unit"]]}


def _time_option(option: str, text: str | None, timezone: str) -> datetime | None:
    return None if text is None else _parse_option(option, lambda value: fields.moment(value, zone(timezone)), text)


def _parse_option(option: str, reader: Callable[[str], Value], text: str) -> Value:
    """The value of an option, parsed like the field of a form, with the same error message."""
    try:
        return reader(text)
    except FieldError as error:
        raise _Refusal(f"--{option}: {error}") from error


def _as_table(recurrence: Recurrence, found: list[DueTime]) -> str:
    if not found:
        return f"{describe(recurrence)}\nno upcoming runs"
    rows = [("UTC", "LOCAL", "NOTE"), *((iso(due.utc), due.local.isoformat(), _note(due)) for due in found)]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    lines = [f"{utc:<{widths[0]}}  {local:<{widths[1]}}  {note}".rstrip() for utc, local, note in rows]
    return "\n".join([describe(recurrence), "", *lines])


def _note(due: DueTime) -> str:
    fires = "" if due.fires_at == due.utc else f"fires at {iso(due.fires_at)}"
    return "; ".join(part for part in (due.note, fires) if part)
