"""What is typed, in plain words: a crontab field by field, and the clock of a time zone. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from webapp.people.zones import meant_zone, offset_words
from webapp.scheduler.recurrence import RecurrenceError
from webapp.scheduler.recurrence.cron_words import field_words
from webapp.scheduler.recurrence.fields import FIELD_NAMES
from webapp.scheduler.recurrence.zones import offset_at, zone
from webapp.schedules.rule_fields import SHORTCUTS

TITLES = ("Minute", "Hour", "Day of month", "Month", "Day of week")
_A_YEAR = 366


@dataclass(frozen=True, slots=True)
class Part:
    """One of the five fields: its text, and its meaning or what is wrong with it."""

    title: str
    text: str
    words: str = ""
    error: str = ""


def crontab_parts(line: str) -> list[Part]:
    """The five fields of a line, however far it is typed; what is not there yet has no words, a sixth is cut."""
    texts = SHORTCUTS.get(line.strip().lower(), line).split()[: len(FIELD_NAMES)]
    texts += [""] * (len(FIELD_NAMES) - len(texts))
    return [_part(title, name, text) for title, name, text in zip(TITLES, FIELD_NAMES, texts, strict=True)]


def _part(title: str, name: str, text: str) -> Part:
    if not text:
        return Part(title, "")
    try:
        return Part(title, text, field_words(name, text))
    except RecurrenceError as error:
        words = str(error)
        return Part(title, text, error=f"{words[0].upper()}{words[1:]}.")


def zone_words(typed: str, now: datetime) -> str:
    """What clocks show in a zone now, and when they change next; empty for a zone that is not known."""
    name = meant_zone(typed)
    if name is None:
        return ""
    tz = zone(name)
    words = f"{name}: {now.astimezone(tz):%H:%M} now, {offset_words(tz, now)}"
    change = _next_change(name, now)
    if change is None:
        return f"{words}, no change of clocks ahead."
    local = change.astimezone(tz)
    return f"{words}; from {local.day} {local:%B %Y} {offset_words(tz, change)}."


def _next_change(name: str, now: datetime) -> datetime | None:
    """The next moment within a year at which the zone's offset changes."""
    tz, low = zone(name), int(now.timestamp())
    before = offset_at(tz, low)
    day = int(timedelta(days=1).total_seconds())
    high = next((at for at in range(low, low + _A_YEAR * day, day) if offset_at(tz, at) != before), None)
    if high is None:
        return None
    low = high - day
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if offset_at(tz, middle) == before else (low, middle)
    return datetime.fromtimestamp(high, now.tzinfo)
