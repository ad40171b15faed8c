"""Translates cron's syntax into that of Celery's crontab: day 7, steps without a range, a user column, a sixth field.

Adds notes on what people often misunderstand, such as steps that start again with each hour.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from webapp.recurrence.fields import FIELD_NAMES, MONTHS, WEEKDAYS

# First and last number of each field in cron; Sunday is 0 and 7.
_SPANS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_NAMES = {name[:3]: index for index, name in enumerate(WEEKDAYS)} | {
    name[:3]: index for index, name in enumerate(MONTHS, 1)
}
# The period after which the steps of a field start again.
_PERIODS = ("hour", "day", "month", "year", "week")
_MAX_SHOWN = 4
_STEPS = re.compile(r"\*/([1-9][0-9]{0,2})")
_PART = re.compile(r"([0-9]+|[a-z]{3})(?:-([0-9]+|[a-z]{3}))?(?:/([1-9][0-9]*))?", re.IGNORECASE)
_DAY = r"(?:mon|tue|wed|thu|fri|sat|sun)"
_SIXTH = re.compile(rf"[*?\d][\d*?/,\-LW#]*|{_DAY}(?:[-,#]\w+)*", re.IGNORECASE)
_USER = re.compile(r"([a-z_][a-z0-9_-]*\$?)\s+(\S.*)", re.DOTALL)
# Accounts that are not names of programs, by which a system-wide crontab is recognised.
_ACCOUNTS = frozenset({"root", "nobody", "www-data", "ubuntu", "debian", "ec2-user", "centos"})


def field_count(line: str) -> int:
    """The number of crontab fields at the beginning of a line; five are expected."""
    count = 0
    for word in line.split():
        if count >= len(FIELD_NAMES) and not _SIXTH.fullmatch(word):
            break
        count += 1
    return count


def translate(fields: Sequence[str]) -> tuple[list[str], list[str]]:
    """Cron's five fields in Celery's syntax, and a note on each that is changed or ambiguous."""
    made: list[str] = []
    notes: list[str] = []
    for name, text, span, period in zip(FIELD_NAMES, fields, _SPANS, _PERIODS, strict=True):
        parts = [_part(part, span) for part in text.split(",")]
        made.append(",".join(written for written, _ in parts))
        about = [note for _, note in parts] + [_restart_note(text, span, period)]
        notes += [f"{name.replace('_', ' ').capitalize()}: {note}" for note in about if note]
    return made, notes


def _restart_note(text: str, span: tuple[int, int], period: str) -> str:
    """A note that a step such as `*/45` is not an interval: it starts again with each hour. Else empty."""
    match = _STEPS.fullmatch(text)
    numbers = range(span[0], span[1] + (period != "week"))  # Sunday once
    if match is None or len(numbers) % int(match[1]) == 0:
        return ""
    found = numbers[:: int(match[1])]
    shown = ", ".join(map(str, found[:_MAX_SHOWN])) + (" and so on" if len(found) > _MAX_SHOWN else "")
    return f"“{text}” begins again with each {period}: {shown}."


def _part(text: str, span: tuple[int, int]) -> tuple[str, str]:
    match = _PART.fullmatch(text)
    if match is None:
        return text, ""
    first, last, step = match.groups()
    low = _number(first)
    high = _number(last) if last else span[1] if step else low
    if not all(span[0] <= number <= span[1] for number in (low, high)):
        return text, ""  # the field's validation refuses it with a reason
    if low > high:
        return text, f"“{text}” runs backwards, which some crons refuse; it is read as wrapping around."
    weekday = span[1] == len(WEEKDAYS)
    if not (weekday and high == len(WEEKDAYS)) and not (step and not last):
        return text, ""
    numbers = range(low, high + 1, int(step or 1))
    if weekday:
        days = sorted({number % len(WEEKDAYS) for number in numbers})
        made = "0-6" if len(days) == len(WEEKDAYS) else ",".join(map(str, days))
        return made, f"“{text}” is written as “{made}”: Sunday is 0."
    made = f"{low}-{high}/{step}"
    return made, f"“{text}” is written as “{made}”, as newer crons read it; older ones refuse it."


def _number(text: str) -> int:
    return int(text) if text.isdigit() else _NAMES.get(text.lower(), -1)


def has_user_column(commands: Sequence[str]) -> bool:
    """Whether all commands of a crontab begin with a user, as in `/etc/crontab`."""
    users = [match[1] for match in map(_USER.match, commands) if match]
    return len(users) == len(commands) and any(user in _ACCOUNTS for user in users)


def without_user(command: str) -> tuple[str, str]:
    """The user at the beginning of a command, and the command without it."""
    match = _USER.match(command)
    return (match[1], match[2]) if match else ("", command)


def names_account(command: str) -> bool:
    """Whether a command begins with a well-known account, as in a system-wide crontab."""
    return without_user(command)[0] in _ACCOUNTS
