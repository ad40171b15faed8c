"""The calendar's grid of hours by days in a time zone, with days of 23 and 25 hours. Pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from webapp.recurrence import clock_changes


@dataclass(frozen=True, slots=True)
class Hour:
    """An hour of a day. It begins at `start` (epoch seconds) and has 60 minutes, or fewer at a clock change."""

    start: int
    minutes: int
    day: date
    hour: int
    again: int

    @property
    def end(self) -> int:
        """The end of the hour, in epoch seconds."""
        return self.start + 60 * self.minutes


@dataclass(frozen=True, slots=True)
class Day:
    """A date and its length in minutes."""

    date: date
    minutes: int

    @property
    def odd(self) -> str:
        """The length of a day that does not have 24 hours, such as "23 h"; else empty."""
        return "" if self.minutes == 1440 else f"{self.minutes / 60:g} h"


@dataclass(frozen=True, slots=True)
class Row:
    """One hour of the clock on all days; None on a day that does not have it. `again` is 1 for a repeated hour."""

    hour: int
    again: int
    hours: Sequence[Hour | None]


@dataclass(frozen=True, slots=True)
class Grid:
    """Consecutive days."""

    days: Sequence[Day]
    rows: Sequence[Row]
    start: int
    end: int

    @property
    def minutes(self) -> int:
        """The total length in minutes."""
        return (self.end - self.start) // 60


def grid(first: date, days: int, zone: ZoneInfo) -> Grid:
    """The grid of a number of days from `first` on."""
    dates = [first + timedelta(days=number) for number in range(days + 1)]
    begins = [day_begins(day, zone) for day in dates]
    hours = {day: _hours(day, begins[n], begins[n + 1], zone) for n, day in enumerate(dates[:-1])}
    found = {(day, hour.hour, hour.again): hour for day, of_day in hours.items() for hour in of_day}
    names = sorted({(hour, again) for _day, hour, again in found})
    rows = [Row(hour, again, [found.get((day, hour, again)) for day in dates[:-1]]) for hour, again in names]
    lengths = [Day(day, (begins[n + 1] - begins[n]) // 60) for n, day in enumerate(dates[:-1])]
    return Grid(lengths, rows, begins[0], begins[-1])


def day_begins(day: date, zone: ZoneInfo) -> int:
    """The beginning of a day, in epoch seconds; if clocks skip midnight, the end of the gap."""
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp())


def hour_at(moment: datetime, zone: ZoneInfo) -> Hour:
    """The hour of the clock in which a moment lies."""
    instant, day = int(moment.timestamp()), moment.astimezone(zone).date()
    hours = _hours(day, day_begins(day, zone), day_begins(day + timedelta(days=1), zone), zone)
    return next((hour for hour in hours if instant < hour.end), hours[-1])


def _hours(day: date, begin: int, end: int, zone: ZoneInfo) -> list[Hour]:
    changes = [*clock_changes(zone.key, begin, end), end]
    found: list[Hour] = []
    seen: Counter[int] = Counter()
    while begin < end:
        local = datetime.fromtimestamp(begin, UTC).astimezone(zone)
        whole = begin + 3600 - (60 * local.minute + local.second)
        ends = min(whole, next(change for change in changes if change > begin))
        found.append(Hour(begin, (ends - begin) // 60, day, local.hour, seen[local.hour]))
        seen[local.hour] += 1
        begin = ends
    return found
