"""The rules of schedules and their due times, as plain values without behaviour.

Every datetime here is aware. Nothing here reads a clock, a database or Flask.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from webapp.recurrence.errors import RecurrenceError
from webapp.recurrence.fields import FIELD_NAMES, parse_field

MICROSECONDS = {
    "days": 86_400_000_000,
    "hours": 3_600_000_000,
    "minutes": 60_000_000,
    "seconds": 1_000_000,
    "microseconds": 1,
}


@dataclass(frozen=True, slots=True)
class Interval:
    """A fixed length of elapsed time: a number of `days`, `hours`, `minutes`, `seconds` or `microseconds`."""

    every: int
    period: str


@dataclass(frozen=True, slots=True)
class Crontab:
    """Five fields with Celery's meaning: a day must match day of month *and* day of week."""

    minute: str = "*"
    hour: str = "*"
    day_of_month: str = "*"
    month_of_year: str = "*"
    day_of_week: str = "*"

    @classmethod
    def from_line(cls, line: str) -> Crontab:
        """Read the usual line `minute hour day-of-month month day-of-week`, such as `*/5 9-17 * * mon-fri`.

        Raises RecurrenceError with the field at fault, or with the field `crontab` when there are not five of them.
        """
        parts = line.split()
        if len(parts) != len(FIELD_NAMES):
            raise RecurrenceError(
                "crontab",
                f"a crontab has five fields (minute, hour, day of month, month, day of week), not {len(parts)}",
            )
        for name, text in zip(FIELD_NAMES, parts, strict=True):
            parse_field(name, text)
        return cls(*parts)

    @property
    def line(self) -> str:
        """The five fields as one line."""
        return " ".join(getattr(self, name).replace(" ", "") for name in FIELD_NAMES)


@dataclass(frozen=True, slots=True)
class Solar:
    """A solar event at a place. Latitude is in degrees north, longitude in degrees east."""

    event: str
    latitude: float
    longitude: float


@dataclass(frozen=True, slots=True)
class OneTime:
    """A single due time."""

    at: datetime


Rule = Interval | Crontab | Solar | OneTime


@dataclass(frozen=True, slots=True)
class Recurrence:
    """A rule with its limits, time zone and jitter.

    `timezone` is the IANA zone in which a crontab's fields are meant and local times are shown. `start` and `end` are
    both inclusive: a due time exactly at either one counts. `max_runs` bounds the number of runs over the whole life.
    `jitter` is in seconds; `seed` is the schedule's name, from which the jitter of each due time is derived.
    An interval's grid begins at `start`, else at `anchor`, else at 1970-01-01T00:00Z.
    """

    rule: Rule
    timezone: str = "UTC"
    start: datetime | None = None
    end: datetime | None = None
    max_runs: int | None = None
    jitter: float = 0.0
    seed: str | int = ""
    anchor: datetime | None = None


@dataclass(frozen=True, slots=True)
class DueTime:
    """One due time.

    `utc` identifies it; `local` is the same instant in the schedule's zone, for display only (for Python, a time in a
    repeated hour does not equal the same instant in another zone, so compare `utc`); `note` says in a few words how
    daylight saving changed it, or is empty; `fires_at` is `utc` plus a jitter in [0, jitter), which is always the same
    for one due time, ends before the next one, and may reach beyond the recurrence's end.
    """

    utc: datetime
    local: datetime
    note: str
    fires_at: datetime
