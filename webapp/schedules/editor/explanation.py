"""What is typed, in plain words: a crontab field by field, its time zone's clock and its changes. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from webapp.recurrence import Crontab, DueTime, Recurrence, RecurrenceError, clock_changes, due_times
from webapp.recurrence.cron_words import field_words
from webapp.recurrence.fields import FIELD_NAMES
from webapp.recurrence.zone_search import meant_zone, offset_words
from webapp.recurrence.zones import zone
from webapp.schedules.rule_fields import SHORTCUTS

TITLES = ("Minute", "Hour", "Day of month", "Month", "Day of week")
_YEAR_SECONDS = 365 * 86_400
# Of changes of clocks, so many are looked at, with so many due times around each: longer before it than clocks go back.
_CHANGES = 2
_AROUND = timedelta(hours=4)
_LOOKED_AT_CHANGE = 64
# Of a schedule whose runs are limited, so many due times.
_LOOKED_AT = 400


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
        return f"{words}, no clock change ahead."
    local = change.astimezone(tz)
    return f"{words}; from {local.day} {local:%B %Y} {offset_words(tz, change)}."


def clock_notes(recurrence: Recurrence, now: datetime, done: int = 0) -> list[str]:
    """What the next two changes of clocks do to the due times of a crontab, a sentence each.

    Nothing of one that repeats by minutes or each hour: its rhythm goes on. `done` as of `due_times`.
    """
    rule = recurrence.rule
    if not isinstance(rule, Crontab) or rule.minute.startswith("*") or rule.hour == "*":
        return []
    if recurrence.max_runs is not None:
        # Which of its due times lie after the last run, only counting from now on says.
        noted = [due for due in due_times(recurrence, now, _LOOKED_AT, done) if due.note]
        return [_noted(due) for due in noted[:_CHANGES]]
    notes, moment = [], now
    for _ in range(_CHANGES):
        change = _next_change(recurrence.timezone, moment)
        if change is None:
            break
        around = due_times(recurrence, max(now, change - _AROUND), _LOOKED_AT_CHANGE)
        notes += [_noted(due) for due in around if due.note and due.utc < change + timedelta(days=1)][:1]
        moment = change
    return notes


def _noted(due: DueTime) -> str:
    return f"On {due.local:%a %d %b %Y} at {due.local:%H:%M}, {due.note}."


def _next_change(name: str, now: datetime) -> datetime | None:
    """The next moment within a year at which the clock of a time zone changes; None if there is none."""
    after = int(now.timestamp()) + 1
    change = next(clock_changes(name, after, after + _YEAR_SECONDS), None)
    return None if change is None else datetime.fromtimestamp(change, now.tzinfo)
