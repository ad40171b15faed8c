"""Zones with odd clocks, the moments at which they change, and generated crontabs: shared by the tests beside it."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache

from webapp.recurrence.zones import offset_at, zone

ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Europe/Dublin",  # its winter time is the negative one
    "America/Santiago",  # changes at midnight
    "America/Havana",  # changes at midnight, the other way round too
    "Australia/Lord_Howe",  # half an hour
    "Pacific/Chatham",  # at 02:45
    "Antarctica/Troll",  # two hours
    "Pacific/Apia",  # lost 30 December 2011
    "Africa/Casablanca",  # several changes a year, around Ramadan
    "America/Caracas",  # moved by half an hour in 2007 and in 2016
    "Asia/Kathmandu",  # 5:45, never changes
)
_HOUR, _DAY = 3600, 86_400
_FIRST, _LAST = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in (2005, 2045))


@dataclass(frozen=True)
class Change:
    """A change of clocks: its first instant in epoch seconds, and the offsets before and after it in seconds."""

    instant: int
    before: int
    after: int

    @property
    def at_whole_hours(self) -> bool:
        """Whether the clock showed a whole hour before and after it."""
        return (self.instant + self.before) % _HOUR == 0 and (self.instant + self.after) % _HOUR == 0

    @property
    def skips_a_midnight(self) -> bool:
        first, end = self.instant + self.before, self.instant + self.after
        return first <= -(-first // _DAY) * _DAY < end


@cache
def changes(name: str) -> tuple[Change, ...]:
    """Return the changes of a zone from 2005 to 2044, found by looking every six hours."""
    tz, found = zone(name), []
    before = offset_at(tz, _FIRST)
    for instant in range(_FIRST, _LAST, 6 * _HOUR):
        after = offset_at(tz, instant)
        if after != before:
            low, high = instant - 6 * _HOUR, instant
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if offset_at(tz, middle) == before else (low, middle)
            found.append(Change(high, before, after))
            before = after
    return tuple(found)


def moment(name: str, chance: random.Random) -> int:
    """Return a moment in epoch seconds: three of four within a few hours of a change, if the zone has any."""
    nearby = changes(name)
    if nearby and chance.random() < 0.75:
        return chance.choice(nearby).instant + chance.randint(-4 * _HOUR, 4 * _HOUR)
    return chance.randint(_FIRST, _LAST)


def crontab_line(chance: random.Random) -> str:
    """Return a crontab on which cron and Celery agree: see test_cronsim.py for what is left out and why."""
    day, weekday = chance.choice([("*", "*")] * 5 + [(_days(chance), "*"), ("*", _weekdays(chance))])
    month = chance.choice(["*"] * 6 + ["3,10", "*/3", "mar-may", "sep-nov", "10", "1-11/2"])
    return f"{_part(chance, 59)} {_hours(chance)} {day} {month} {weekday}"


def _part(chance: random.Random, highest: int, lowest: int = 0) -> str:
    low = chance.randint(lowest, highest - 1)
    high = chance.randint(low + 1, highest)
    return chance.choice(
        (
            "*",
            f"*/{chance.choice((2, 3, 5, 7, 10, 15, 20, 30))}",
            f"{low}",
            f"{low}",
            f"{low},{high}",
            f"{low}-{high}",
            f"{low}-{high}/{chance.randint(1, 9)}",
            f"{low},*/{chance.choice((4, 13))}",
            f"*/{chance.choice((25, 40))},{high}",
        )
    )


def _hours(chance: random.Random) -> str:
    # Clocks change at night: half of the hours are those that are skipped or repeated.
    night = chance.choice(("0", "1", "2", "3", "1-3", "0,2", "23", "2,3", "0-4/2"))
    return night if chance.random() < 0.5 else _part(chance, 23)


def _days(chance: random.Random) -> str:
    return chance.choice(("1", "15", "29", "31", "25-31", "*/2", "1-7", "28,30", "8-14", "1,10,20"))


def _weekdays(chance: random.Random) -> str:
    return chance.choice(("0", "sun", "mon-fri", "sat,sun", "*/2", "1-5/2", "fri", "0-6"))
