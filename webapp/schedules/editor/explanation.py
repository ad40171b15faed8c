"""Explains a crontab in words: each field, its time zone, and the effect of clock changes. Pure functions."""

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
# How many clock changes are explained, with how many due times around each. The time before a change must be longer
# than clocks are set back by it.
_CHANGES = 2
_AROUND = timedelta(hours=4)
_DUE_TIMES_AT_CHANGE = 64
# How many due times are checked for a schedule with a maximum number of runs.
_MAX_DUE_TIMES = 400


@dataclass(frozen=True, slots=True)
class Part:
    """One of the five fields: its text, and its meaning or its error."""

    title: str
    text: str
    words: str = ""
    error: str = ""


def crontab_parts(line: str) -> list[Part]:
    """The five fields of a crontab that may be incomplete. Missing fields are empty, further ones are ignored."""
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
    """The current time in a time zone and its next clock change, in words; empty for an unknown zone."""
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
    """The effect of the next two clock changes on the due times of a crontab, in a sentence each.

    Empty for a crontab that repeats by minutes or every hour, as its rhythm does not change. `done` as in `due_times`.
    """
    rule = recurrence.rule
    if not isinstance(rule, Crontab) or rule.minute.startswith("*") or rule.hour == "*":
        return []
    if recurrence.max_runs is not None:
        # Counting from now on shows which due times come before the last run.
        noted = [due for due in due_times(recurrence, now, _MAX_DUE_TIMES, done) if due.note]
        return [_note_sentence(due) for due in noted[:_CHANGES]]
    notes, moment = [], now
    for _ in range(_CHANGES):
        change = _next_change(recurrence.timezone, moment)
        if change is None:
            break
        around = due_times(recurrence, max(now, change - _AROUND), _DUE_TIMES_AT_CHANGE)
        notes += [_note_sentence(due) for due in around if due.note and due.utc < change + timedelta(days=1)][:1]
        moment = change
    return notes


def _note_sentence(due: DueTime) -> str:
    return f"On {due.local:%a %d %b %Y} at {due.local:%H:%M}, {due.note}."


def _next_change(name: str, now: datetime) -> datetime | None:
    """The next moment within a year at which the clock of a time zone changes; None if there is none."""
    after = int(now.timestamp()) + 1
    change = next(clock_changes(name, after, after + _YEAR_SECONDS), None)
    return None if change is None else datetime.fromtimestamp(change, now.tzinfo)
