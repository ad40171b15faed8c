"""Due times of schedules: pure functions, the one source for beat, preview and command line.

Nothing here reads a clock, a database or Flask: the current time is always an argument.
"""

from __future__ import annotations

from webapp.recurrence.checks import validate_recurrence
from webapp.recurrence.due import due_times, jitter_seconds, next_due, next_due_timestamp
from webapp.recurrence.errors import RecurrenceError
from webapp.recurrence.spans import ByMinute, by_minute, clock_changes
from webapp.recurrence.sun import EVENTS
from webapp.recurrence.values import MICROSECONDS, Crontab, DueTime, Interval, OneTime, Recurrence, Rule, Solar
from webapp.recurrence.words import describe

PERIODS = tuple(MICROSECONDS)
SOLAR_EVENTS = tuple(EVENTS)

__all__ = [
    "PERIODS",
    "SOLAR_EVENTS",
    "ByMinute",
    "Crontab",
    "DueTime",
    "Interval",
    "OneTime",
    "Recurrence",
    "RecurrenceError",
    "Rule",
    "Solar",
    "by_minute",
    "clock_changes",
    "describe",
    "due_times",
    "jitter_seconds",
    "next_due",
    "next_due_timestamp",
    "validate_recurrence",
]
