"""The next instant at which a crontab is due, daylight saving included.

Debian's cron sorts its jobs into two kinds, and so does this module:

- **wildcard**: the minute or the hour field *begins* with `*` (`*`, `*/15`, `*,5`). It is due at every instant whose
  wall clock matches. So it keeps its rhythm through both passes of an hour that autumn repeats, and times that spring
  skips do not occur.
- **fixed**: every other one, `0-59/15 1-3` and `0,*/15 9` included: a list, range or step that does not begin with `*`
  names times. A time that spring skips is due right after the gap (several skipped times are due once, together); a
  time that autumn repeats is due once, the first time.

The rules depend only on whether the local clock jumped, not by how much or why: half an hour on Lord Howe, two hours
at Troll, a whole day in Samoa. (Debian's daemon takes a jump of three hours or more for a correction of the clock and
drops the times in it. Here the zone's data distinguish the two, and nothing is dropped.)

Instants are whole seconds since 1970-01-01T00:00Z; walls are naive datetimes in the crontab's zone.
"""

from __future__ import annotations

from bisect import bisect_left
from calendar import monthrange
from datetime import MAXYEAR, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from webapp.recurrence.fields import parse_field
from webapp.recurrence.values import Crontab
from webapp.recurrence.zones import transition, wall_from_seconds, wall_offsets, wall_seconds, zone

_MINUTE = timedelta(minutes=1)
_LAST_YEAR = MAXYEAR - 1  # a year before datetime's limit, so that no zone's offset leads beyond it
LAST_INSTANT = wall_seconds(datetime(_LAST_YEAR, 12, 31))  # noqa: DTZ001 - a wall clock

Gap = tuple[datetime, datetime]
"""Walls that do not exist: the first one, and the first one that exists again."""


class CompiledCrontab:
    """A crontab's fields as sorted numbers, with its zone and its kind. Immutable, shared between schedules."""

    __slots__ = ("days", "hours", "minutes", "months", "tz", "weekdays", "wild")

    def __init__(self, crontab: Crontab, tz: ZoneInfo) -> None:
        self.minutes = parse_field("minute", crontab.minute)
        self.hours = parse_field("hour", crontab.hour)
        self.days = parse_field("day_of_month", crontab.day_of_month)
        self.months = parse_field("month_of_year", crontab.month_of_year)
        self.weekdays = parse_field("day_of_week", crontab.day_of_week)
        self.tz = tz
        self.wild = crontab.minute.lstrip().startswith("*") or crontab.hour.lstrip().startswith("*")

    def next_after(self, after: int) -> tuple[int, Gap | None] | None:
        """Return the first due instant after `after`, and the gap that swallowed times of a wildcard on the way.

        None when there is none before the calendar's end.
        """
        if after >= LAST_INSTANT:
            return None
        local = datetime.fromtimestamp(after, self.tz)
        wall = local.replace(tzinfo=None, second=0, microsecond=0, fold=0)
        if self.wild:
            return self._next_wild(after, wall)
        return self._next_fixed(wall, second_pass=local.fold == 1)

    def _next_wild(self, after: int, wall: datetime) -> tuple[int, Gap | None] | None:
        found = self.next_wall(wall + _MINUTE)
        first, second = wall_offsets(self.tz, wall)
        if first > second and wall_seconds(wall) - first <= after < wall_seconds(wall) - second:
            # In the first pass of a repeated hour: the second pass comes before anything later on the wall.
            change = transition(self.tz, wall, first, second)
            hour_ends = wall_from_seconds(change + first)
            if found is None or found >= hour_ends:
                again = self.next_wall(wall_from_seconds(change + second))
                if again is not None and again < hour_ends:
                    return wall_seconds(again) - second, None
        swallowed: Gap | None = None
        while found is not None:
            first, second = wall_offsets(self.tz, found)
            if first >= second:
                instant = wall_seconds(found) - first
                return (instant if instant > after else wall_seconds(found) - second), swallowed
            change = transition(self.tz, found, first, second)
            swallowed = (wall_from_seconds(change + first), wall_from_seconds(change + second))
            found = self.next_wall(swallowed[1])
        return None

    def _next_fixed(self, wall: datetime, *, second_pass: bool) -> tuple[int, Gap | None] | None:
        found = self.next_wall(wall + _MINUTE)
        if second_pass:
            # All that the repeated hour names was due in its first pass: go on where it ends.
            first, second = wall_offsets(self.tz, wall)
            hour_ends = wall_from_seconds(transition(self.tz, wall, first, second) + first)
            if found is not None and found < hour_ends:
                found = self.next_wall(hour_ends)
        if found is None:
            return None
        first, second = wall_offsets(self.tz, found)
        if first < second:
            return transition(self.tz, found, first, second), None
        return wall_seconds(found) - first, None

    def next_wall(self, wall: datetime) -> datetime | None:
        """Return the first matching wall time at or after `wall` (a whole minute), whether or not it exists."""
        day = wall.day
        if self.matches_day(wall):
            time = self._next_time(wall.hour, wall.minute)
            if time is not None:
                return wall.replace(hour=time[0], minute=time[1])
            day += 1
        found = self._next_day(wall.year, wall.month, day)
        return None if found is None else found.replace(hour=self.hours[0], minute=self.minutes[0])

    def matches_day(self, wall: datetime) -> bool:
        """Return whether something is due on that day, as far as the fields of days and months go."""
        return wall.month in self.months and wall.day in self.days and wall.isoweekday() % 7 in self.weekdays

    def _next_time(self, hour: int, minute: int) -> tuple[int, int] | None:
        at = bisect_left(self.hours, hour)
        if at < len(self.hours) and self.hours[at] == hour:
            minute_at = bisect_left(self.minutes, minute)
            if minute_at < len(self.minutes):
                return hour, self.minutes[minute_at]
            at += 1
        return (self.hours[at], self.minutes[0]) if at < len(self.hours) else None

    def _next_day(self, year: int, month: int, day: int) -> datetime | None:
        """Return midnight of the first matching day at or after the given one, whose day may lie past the month's end.

        Goes by months that match, so that 29 February on a Monday, up to 40 years away, costs 40 steps.
        """
        while year <= _LAST_YEAR:
            for candidate in self.months:
                if candidate >= month:
                    found = self._day_in_month(year, candidate, day if candidate == month else 1)
                    if found is not None:
                        return datetime(year, candidate, found)  # noqa: DTZ001 - a wall clock
            if self.never:
                return None
            year, month, day = year + 1, 1, 1
        return None

    def _day_in_month(self, year: int, month: int, earliest: int) -> int | None:
        first_weekday, length = monthrange(year, month)
        for day in self.days:
            # monthrange counts from Monday = 0, a crontab from Sunday = 0
            if earliest <= day <= length and (first_weekday + day) % 7 in self.weekdays:
                return day
        return None

    @property
    def never(self) -> bool:
        """Whether no day of any year matches, such as 31 February.

        The day of the week never decides: in 400 years every date falls on every day of the week, 29 February included.
        """
        return all(self.days[0] > monthrange(2000, month)[1] for month in self.months)


@lru_cache(maxsize=131_072)
def compiled(crontab: Crontab, timezone: str) -> CompiledCrontab:
    """Return the crontab compiled for its zone, from a cache. Raises RecurrenceError for a bad field or zone."""
    return CompiledCrontab(crontab, zone(timezone))


def crontab_note(crontab: CompiledCrontab, instant: int, swallowed: Gap | None) -> str:
    """Say in a few words what daylight saving did to a due time, or return ''."""
    local = datetime.fromtimestamp(instant, crontab.tz)
    wall = local.replace(tzinfo=None, fold=0)
    first, second = wall_offsets(crontab.tz, wall)
    if first > second:
        which = "second" if local.fold else "first"
        return f"clocks go back: {which} of two passes" + ("" if crontab.wild else ", runs only once")
    if not crontab.wild:
        return _moved_note(crontab, instant, wall)
    if swallowed is None:
        return ""
    return f"clocks go forward: {swallowed[0]:%Y-%m-%d %H:%M} to {swallowed[1] - _MINUTE:%H:%M} does not exist"


def _moved_note(crontab: CompiledCrontab, instant: int, wall: datetime) -> str:
    before = datetime.fromtimestamp(instant - 1, crontab.tz).replace(tzinfo=None, fold=0)
    missing = crontab.next_wall(before + timedelta(seconds=1))
    if missing is None or missing >= wall:
        return ""
    same_day = missing.date() == wall.date()
    names = missing.strftime("%H:%M" if same_day else "%Y-%m-%d %H:%M")
    following = crontab.next_wall(missing + _MINUTE)
    several = following is not None and following < wall
    # The time itself may be named by the crontab too: then nothing moved, but it stands for more than itself.
    kind = "also for" if crontab.next_wall(wall) == wall else "moved from"
    verb = " and later times, which do" if several else ", which does"
    return f"{kind} {names}{verb} not exist{' that day' if same_day else ''}"
