"""All due times of a period at once, counted by minute, for calendars of many schedules.

The due times are those of `due_times` (tests compare both), without notes. A crontab is not evaluated for each of them:
on a day without a clock change, its times are the same as on any other day. Only around a clock change it is evaluated
step by step.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from webapp.recurrence.cron import CompiledCrontab, compiled
from webapp.recurrence.due import grid_origin, interval_microseconds, next_due_timestamp
from webapp.recurrence.values import Crontab, Interval, Recurrence
from webapp.recurrence.zones import change_between, offset_at, to_microseconds, wall_offsets, wall_seconds, zone

_DAY = timedelta(days=1)
_SECOND = 1_000_000
_MINUTE = 60 * _SECOND


class ByMinute(NamedTuple):
    """The minutes of a period in which something is due, ascending, and how often in each; None if once in each."""

    minutes: array[int]
    counts: array[int] | None

    @property
    def total(self) -> int:
        """The number of due times."""
        return len(self.minutes) if self.counts is None else sum(self.counts)

    def pairs(self) -> Iterator[tuple[int, int]]:
        """Each minute with its count."""
        return ((minute, 1) for minute in self.minutes) if self.counts is None else zip(*self, strict=True)  # type: ignore[arg-type]  # both are there


def by_minute(recurrence: Recurrence, first: int, minutes: int, done: int = 0) -> ByMinute:
    """Return the due times within `minutes` minutes from `first` on (epoch seconds, a whole minute).

    Minute 0 is the one that begins at `first`. `done` is how many runs were already made, which `max_runs` counts.
    Raises RecurrenceError for a rule that cannot be read.
    """
    end = first + 60 * minutes
    if recurrence.max_runs is None:
        match recurrence.rule:
            case Interval() as interval:
                return _on_grid(interval, recurrence, first, minutes)
            case Crontab() as rule:
                low, high = _bounds(recurrence, first, end)
                found = compiled(rule, recurrence.timezone)
                due = (instant for instant in _crontab(found, low, high) if low <= instant < high)
                return ByMinute(array("I", ((instant - first) // 60 for instant in due)), None)
    return _gathered([int((due - first) // 60) for due in _one_by_one(recurrence, first, end, done)])


def _one_by_one(recurrence: Recurrence, first: int, end: int, done: int) -> Iterator[float]:
    # A microsecond before the period, so that a due time exactly at its beginning is included.
    due = next_due_timestamp(recurrence, first - 1e-6, done)
    while due is not None and due < end:
        yield due
        done += 1
        due = next_due_timestamp(recurrence, due, done)


def _gathered(minutes: list[int]) -> ByMinute:
    counts = Counter(minutes)
    if len(counts) == len(minutes):
        return ByMinute(array("I", minutes), None)
    return ByMinute(array("I", counts), array("I", counts.values()))


def _bounds(recurrence: Recurrence, first: int, end: int) -> tuple[int, int]:
    """The whole seconds of the period in which it can be due: `start` and `end` of the recurrence are inclusive."""
    if recurrence.start is not None:
        first = max(first, -(-to_microseconds(recurrence.start) // _SECOND))
    if recurrence.end is not None:
        end = min(end, to_microseconds(recurrence.end) // _SECOND + 1)
    return first, end


def _on_grid(rule: Interval, recurrence: Recurrence, first: int, minutes: int) -> ByMinute:
    """The points of an interval's grid, counted by arithmetic if several are in one minute."""
    step, origin = interval_microseconds(rule), grid_origin(recurrence)
    low, high = max(first * _SECOND, origin), (first + 60 * minutes) * _SECOND
    if recurrence.end is not None:
        high = min(high, to_microseconds(recurrence.end) + 1)
    if low >= high:
        return ByMinute(array("I"), None)
    start = first * _SECOND
    if step >= _MINUTE:
        earliest = origin - (origin - low) // step * step
        return ByMinute(array("I", ((due - start) // _MINUTE for due in range(earliest, high, step))), None)
    found, counts = array("I"), array("I")
    for minute in range((low - start) // _MINUTE, -(-(high - start) // _MINUTE)):
        begins = max(start + minute * _MINUTE, low)
        ends = min(start + (minute + 1) * _MINUTE, high)
        count = (ends - 1 - origin) // step - (begins - 1 - origin) // step
        if count:
            found.append(minute)
            counts.append(count)
    return ByMinute(found, counts)


def _crontab(crontab: CompiledCrontab, first: int, end: int) -> Iterator[int]:
    """The due instants on the local days that overlap the period, so possibly some outside of it."""
    if first >= end:
        return
    times = _times(crontab.hours, crontab.minutes)
    day = datetime.fromtimestamp(first, crontab.tz).replace(tzinfo=None, hour=0, minute=0, second=0, fold=0) - _DAY
    while (begins := _day_begins(crontab.tz, day)) < end:
        if not _plain(crontab.tz, day):
            yield from _stepped(crontab, begins, _day_begins(crontab.tz, day + _DAY))
        elif crontab.matches_day(day):
            yield from (begins + 60 * time for time in times)
        day += _DAY


def _stepped(crontab: CompiledCrontab, first: int, end: int) -> Iterator[int]:
    following = crontab.next_after(first - 1)
    while following is not None and following[0] < end:
        yield following[0]
        following = crontab.next_after(following[0])


@lru_cache(maxsize=4096)
def _times(hours: tuple[int, ...], minutes: tuple[int, ...]) -> tuple[int, ...]:
    """The times as minutes of the day."""
    return tuple(60 * hour + minute for hour in hours for minute in minutes)


@lru_cache(maxsize=16_384)
def _day_begins(tz: ZoneInfo, day: datetime) -> int:
    return wall_seconds(day) - wall_offsets(tz, day)[0]


@lru_cache(maxsize=16_384)
def _plain(tz: ZoneInfo, day: datetime) -> bool:
    """Whether no clock change is near that day; times that one skips may become due on the next day."""
    return len({offset for near in (-1, 0, 1) for offset in wall_offsets(tz, day + near * _DAY)}) == 1


def clock_changes(timezone: str, first: int, end: int) -> Iterator[int]:
    """Yield the instants (epoch seconds) from `first` to before `end` at which a zone's clock changes."""
    tz = zone(timezone)
    for low in range(first - 1, end - 1, 86_400):
        high = min(low + 86_400, end - 1)
        if offset_at(tz, low) != offset_at(tz, high):
            yield change_between(tz, low, high)
