"""Short ways to ask for due times in tests. Moments are written in ISO 8601."""

from __future__ import annotations

from datetime import datetime

from webapp.recurrence import Crontab, Recurrence, due_times

at = datetime.fromisoformat


def cron(line: str, timezone: str = "UTC") -> Recurrence:
    return Recurrence(Crontab.from_line(line), timezone)


def local_times(recurrence: Recurrence, after: str, count: int) -> list[str]:
    """Return local times as `2027-03-28 03:00+02:00`."""
    return [due.local.isoformat(" ", "minutes") for due in due_times(recurrence, at(after), count)]


def between(recurrence: Recurrence, first: str, last: str) -> list[str]:
    """Return the local times after `first`, up to `last` and with it."""
    found = [due for due in due_times(recurrence, at(first), 1_000) if due.utc <= at(last)]
    return [due.local.isoformat(" ", "minutes") for due in found]


def notes(recurrence: Recurrence, after: str, count: int) -> list[str]:
    return [due.note for due in due_times(recurrence, at(after), count)]
