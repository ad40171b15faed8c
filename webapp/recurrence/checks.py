"""Validates recurrences, for forms, API, import and command line alike."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from webapp.recurrence.cron import compiled
from webapp.recurrence.due import check_event, interval_microseconds, next_due
from webapp.recurrence.errors import RecurrenceError
from webapp.recurrence.values import MICROSECONDS, Crontab, Interval, OneTime, Recurrence, Solar
from webapp.recurrence.zones import EPOCH, known_zones, to_microseconds

MAX_INTERVAL_MICROSECONDS = 36_525 * MICROSECONDS["days"]
YEARS = (1900, 9998)  # beyond them, datetime cannot represent the local time of some zones
MAX_JITTER_SECONDS = 7 * 86_400.0


def validate_recurrence(recurrence: Recurrence) -> None:
    """Refuse a recurrence that can never work, independently of the current time.

    Raises RecurrenceError for the first problem found: an unknown time zone or event, a field that cannot be parsed, a
    crontab that never fires (31 February), an interval below 1 or above a hundred years, coordinates out of range or at
    which the solar event never occurs, an end that is not after the start, no due time between start and end, a time
    without a time zone, a jitter that is negative or above a week.
    """
    if recurrence.timezone not in known_zones():
        raise RecurrenceError("timezone", f"there is no time zone named '{recurrence.timezone}'")
    _check_bounds(recurrence)
    match recurrence.rule:
        case Crontab() as crontab:
            if compiled(crontab, recurrence.timezone).never:
                never = f"there is no day {crontab.day_of_month} in month {crontab.month_of_year}"
                raise RecurrenceError("day_of_month", f"this never fires: {never}")
        case Interval() as interval:
            if interval_microseconds(interval) > MAX_INTERVAL_MICROSECONDS:
                raise RecurrenceError("every", "an interval is at most a hundred years long")
        case Solar() as solar:
            _check_solar(solar)
        case OneTime() as one_time:
            _check_one_time(one_time, recurrence)
    _check_window(recurrence)


def _check_bounds(recurrence: Recurrence) -> None:
    for field in ("start", "end", "anchor"):
        _check_aware(field, getattr(recurrence, field))
    if recurrence.start is not None and recurrence.end is not None and not _is_before(recurrence.start, recurrence.end):
        raise RecurrenceError("end", "the end must be after the start")
    if recurrence.max_runs is not None and recurrence.max_runs < 1:
        raise RecurrenceError("max_runs", "the maximum number of runs must be at least 1")
    if not 0 <= recurrence.jitter <= MAX_JITTER_SECONDS:  # NaN fails this too
        raise RecurrenceError("jitter", "jitter must be from 0 seconds to a week")


def _check_aware(field: str, moment: datetime | None) -> None:
    if moment is None:
        return
    if moment.utcoffset() is None:
        raise RecurrenceError(field, "a time needs a time zone, such as 2027-10-30T22:00:00Z")
    if not YEARS[0] <= moment.year <= YEARS[1]:
        raise RecurrenceError(field, f"the year must be from {YEARS[0]} to {YEARS[1]}")


def _check_solar(rule: Solar) -> None:
    check_event(rule)
    if not (math.isfinite(rule.latitude) and -90 <= rule.latitude <= 90):
        raise RecurrenceError("latitude", "latitude must be from -90 to 90 degrees")
    if not (math.isfinite(rule.longitude) and -180 <= rule.longitude <= 180):
        raise RecurrenceError("longitude", "longitude must be from -180 to 180 degrees")
    # One year is enough: the sun does the same at a place every year.
    if next_due(Recurrence(rule), EPOCH.replace(year=2027)) is None:
        event = rule.event.replace("_", " ")
        raise RecurrenceError("event", f"there is no {event} at this place on any day of the year")


def _check_one_time(rule: OneTime, recurrence: Recurrence) -> None:
    _check_aware("at", rule.at)
    if recurrence.start is not None and _is_before(rule.at, recurrence.start):
        raise RecurrenceError("at", "the time is before the start")
    if recurrence.end is not None and _is_before(recurrence.end, rule.at):
        raise RecurrenceError("at", "the time is after the end")


def _check_window(recurrence: Recurrence) -> None:
    if recurrence.start is None or recurrence.end is None:
        return
    if next_due(recurrence, datetime(YEARS[0], 1, 1, tzinfo=UTC)) is None:
        raise RecurrenceError("end", "there is no run between the start and the end")


def _is_before(earlier: datetime, later: datetime) -> bool:
    # Python compares two datetimes of one zone by their local times, which is wrong in an hour that clocks repeat.
    return to_microseconds(earlier) < to_microseconds(later)
