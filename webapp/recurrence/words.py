"""A recurrence in plain English, for lists, previews and the audit."""

from __future__ import annotations

from datetime import datetime

from webapp.recurrence.cron_words import crontab_words, join_words
from webapp.recurrence.due import interval_microseconds
from webapp.recurrence.values import Crontab, Interval, OneTime, Recurrence, Solar
from webapp.recurrence.zones import zone

_EVENT_WORDS = {
    "dawn_astronomical": "at astronomical dawn",
    "dawn_nautical": "at nautical dawn",
    "dawn_civil": "at civil dawn",
    "sunrise": "at sunrise",
    "solar_noon": "at solar noon",
    "sunset": "at sunset",
    "dusk_civil": "at civil dusk",
    "dusk_nautical": "at nautical dusk",
    "dusk_astronomical": "at astronomical dusk",
}
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "m"))


def describe(recurrence: Recurrence) -> str:
    """Describe when a recurrence is due, in its zone's local time, such as `every day at 08:00, Europe/Berlin time`.

    Raises RecurrenceError for a crontab field or a zone that cannot be read.
    """
    tz = recurrence.timezone
    match recurrence.rule:
        case Crontab() as crontab:
            words = crontab_words(crontab) + _zone_words(tz)
        case Interval(every=every, period=period):
            words = f"every {period.removesuffix('s')}" if every == 1 else f"every {every:,} {period}"
        case Solar() as solar:
            words = f"every day {_EVENT_WORDS.get(solar.event, solar.event)} at {_place_words(solar)}"
        case OneTime(at=at):
            words = f"once, on {_moment_words(at, tz)}{_zone_words(tz)}"
    return words + _bounds_words(recurrence)


def duration_text(seconds: float) -> str:
    """A duration as it is typed, in its largest whole unit: `90s`, `5m`, `2h`, `1d`."""
    size, unit = next((one for one in _UNITS if seconds and seconds % one[0] == 0), (1, "s"))
    amount = seconds / size
    return f"{int(amount) if amount.is_integer() else amount}{unit}"


def _bounds_words(recurrence: Recurrence) -> str:
    parts = []
    if recurrence.start is not None:
        parts.append(f"from {_moment_words(recurrence.start, recurrence.timezone)}")
    if recurrence.end is not None:
        parts.append(f"until {_moment_words(recurrence.end, recurrence.timezone)}")
    bounds = [" ".join(parts)] if parts else []
    if parts and isinstance(recurrence.rule, Interval | Solar):
        bounds[0] += _zone_words(recurrence.timezone)
    if recurrence.max_runs is not None and not isinstance(recurrence.rule, OneTime):
        bounds.append("once only" if recurrence.max_runs == 1 else f"at most {recurrence.max_runs:,} times")
    if recurrence.jitter > 0:
        rule = recurrence.rule
        if isinstance(rule, Interval) and recurrence.jitter * 1_000_000 >= interval_microseconds(rule):
            bounds.append("jitter up to the next run")
        else:
            bounds.append(f"jitter up to {duration_text(recurrence.jitter)}")
    return "".join(f"; {bound}" for bound in bounds)


def _zone_words(timezone: str) -> str:
    return ", UTC" if timezone == "UTC" else f", {timezone} time"


def _moment_words(moment: datetime, timezone: str) -> str:
    local = moment.astimezone(zone(timezone))
    clock = local.strftime("%H:%M:%S" if local.second else "%H:%M")
    return f"{local.day} {local:%B %Y} at {clock}"


def _place_words(solar: Solar) -> str:
    north = f"{abs(solar.latitude):g}° {'north' if solar.latitude >= 0 else 'south'}"
    east = f"{abs(solar.longitude):g}° {'east' if solar.longitude >= 0 else 'west'}"
    return join_words([north, east], last=",")
