"""Imports crontab files: their lines, their time zones, and the task for each command.

If both day fields are restricted, cron runs on days that match *either* of them, Celery on days that match both. Such a
line becomes two schedules without a day in common, which together are due exactly when cron would run it.
"""

from __future__ import annotations

import json
import re
import shlex
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from beatdesk.encoding import decode_json
from webapp.recurrence.cron_words import number_ranges
from webapp.recurrence.errors import RecurrenceError
from webapp.recurrence.fields import parse_field
from webapp.schedules.sources.cron_dialect import field_count, has_user_column, names_account, translate, without_user
from webapp.schedules.sources.given import Given, check_names, refuse
from webapp.task_catalogue.known_task import KnownTask
from webapp.task_catalogue.registry import known_tasks

_SETTING = re.compile(r"\s*([A-Za-z_]\w*)\s*=\s*(.*?)\s*$")
_LINE = re.compile(r"\s*(@\w+|(?:[\w*/,\-]+\s+){4}[\w*/,\-]+)\s+(\S.*?)\s*$")
_TIME = re.compile(r"\s*[@*\d]")
_ZONES = ("CRON_TZ", "TZ")
MAX_NAME_LENGTH = 200


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a crontab file that runs a command."""

    number: int
    when: str
    command: str
    timezone: str
    comment: str
    notes: Sequence[str] = ()
    error: str | None = None


def looks_like_crontab(text: str) -> bool:
    """Whether a text is probably a crontab: most lines except comments and settings are five fields and a command."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    lines = [line for line in lines if not _SETTING.match(line)]
    return 2 * sum(bool(_TIME.match(line) and _LINE.match(line)) for line in lines) > len(lines)


def from_crontab(text: str, timezone: str, tasks: Mapping[str, str]) -> list[Given]:
    """The schedules of a crontab file. `tasks` maps commands to tasks; the key "" is for all others.

    `timezone` is the default for lines without one. An invalid line is an entry with an error. Raises Invalid if all
    lines are invalid.
    """
    known = known_tasks()
    found: list[Given] = []
    counted: dict[str, int] = {}
    for line in _without_users(_lines(text, timezone)):
        fields, notes, error, unmapped = _call(line.command, tasks, known)
        notes = [*line.notes, *notes]
        base = " ".join(line.command.split())[:MAX_NAME_LENGTH]
        counted[base] = counted.get(base, 0) + 1
        name = base if counted[base] == 1 else f"{base} ({counted[base]})"
        if line.when == "@reboot":
            error = "“@reboot” is not a time: it runs when a machine starts. Remove the line."
        if line.error:
            name, error, unmapped = f"line {line.number}", line.error, None
        given = Given(name, {**fields, "description": line.comment}, line.number, notes, error, command=unmapped)
        found += [given] if error else _when(given, line)
    if not found:
        raise refuse("The file has no line that runs a command.")
    return check_names(found)


def _without_users(lines: list[Line]) -> list[Line]:
    """The lines without the user column of a system-wide crontab, for which tasks have no equivalent."""
    named = has_user_column([line.command for line in lines if not line.error])
    return [_without_user(line) if named or names_account(line.command) else line for line in lines]


def _without_user(line: Line) -> Line:
    user, command = without_user(line.command)
    if line.error or not user:
        return line
    note = f"“{user}” is the user column of a system-wide crontab, and is left out."
    return replace(line, command=command, notes=[*line.notes, note])


def _lines(text: str, timezone: str) -> list[Line]:
    found: list[Line] = []
    comment: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if stripped.startswith("#"):
            comment.append(stripped.lstrip("# "))
            continue
        if setting := _SETTING.match(line):
            timezone = setting[2].strip("'\"") if setting[1] in _ZONES else timezone
        elif stripped:
            found.append(_line(number, line, timezone, "\n".join(comment)))
        comment = []
    if found and all(line.error for line in found):
        raise refuse(str(found[0].error), found[0].number)
    return found


def _line(number: int, text: str, timezone: str, comment: str) -> Line:
    count, ran = field_count(text), _LINE.match(text)
    if count > 5 and not text.lstrip().startswith("@"):
        reason = f"This line has {count} fields; a crontab has five, without seconds and years."
        return Line(number, "", "", timezone, comment, error=reason)
    if ran is None:
        reason = f"“{text.strip()[:80]}” is not a crontab line. Use five fields and a command."
        return Line(number, "", "", timezone, comment, error=reason)
    if ran[1].startswith("@"):
        return Line(number, ran[1].lower(), ran[2], timezone, comment)
    fields, notes = translate(ran[1].split())
    return Line(number, " ".join(fields), ran[2], timezone, comment, notes)


def _when(given: Given, line: Line) -> list[Given]:
    """The one or two schedules that are due when cron would run the line."""
    parts = line.when.split()
    rule = {"kind": "crontab", "crontab": line.when, "timezone": line.timezone}
    if len(parts) != 5 or "*" in (parts[2], parts[4]):
        return [_with(given, given.name, rule)]
    if parts[2].startswith("*") or parts[4].startswith("*"):
        note = (
            f"Cron runs this on days that match both {parts[2]} and {parts[4]}, because one of them begins with “*”; "
            "so does this schedule."
        )
        return [_with(given, given.name, rule, note)]
    try:
        days, _weekdays = parse_field("day_of_month", parts[2]), parse_field("day_of_week", parts[4])
    except RecurrenceError:
        return [_with(given, given.name, rule)]  # the field's validation refuses it with a reason
    note = (
        f"Cron runs this on the days {parts[2]} of the month, and also on the weekdays {parts[4]}. A schedule is due "
        "on days that match both, so this becomes two of them, without a day in common."
    )
    ranges = number_ranges([day for day in range(1, 32) if day not in days])
    others = ",".join(str(low) if low == high else f"{low}-{high}" for low, high in ranges)
    first = {**rule, "crontab": " ".join([*parts[:4], "*"])}
    second = {**rule, "crontab": " ".join([*parts[:2], others, parts[3], parts[4]])}
    made = [_with(given, f"{given.name} (days of the month)", first, note)]
    return [*made, _with(given, f"{given.name} (days of the week)", second, note)] if others else made


def _with(given: Given, name: str, rule: Mapping[str, Any], *notes: str) -> Given:
    return replace(given, name=name, fields={**given.fields, "name": name, **rule}, notes=[*given.notes, *notes])


Call = tuple[dict[str, Any], list[str], str | None, str | None]


def _call(command: str, tasks: Mapping[str, str], known: Mapping[str, KnownTask]) -> Call:
    """The task of a command: its fields, notes, an error, and the command itself if its task can be chosen."""
    notes: list[str] = []
    text = re.sub(r"(?<!\\)%.*", "", command, flags=re.DOTALL).replace("\\%", "%").strip()
    if "%" in re.sub(r"\\%", "", command):
        notes.append("What follows “%” would be its standard input; a task has none, so it is left out.")
    if found := _celery_call(text) or _named(text, known):
        return found, notes, None, None
    chosen = tasks.get(command) or tasks.get("")
    if not chosen:
        return {}, notes, f"“{text[:120]}” is not a known task. Choose which task it is.", command
    task = known.get(chosen)
    if task is not None and task.refuse([text], {}) is None:
        return (
            {"task": chosen, "args": [text]},
            [*notes, f"{chosen} is given the command as its argument."],
            None,
            command,
        )
    return {"task": chosen}, notes, None, command


def _named(text: str, known: Mapping[str, KnownTask]) -> dict[str, Any] | None:
    """`TASK`, `TASK [1, 2]`, `TASK {"a": 1}` or `TASK 1 "two"`."""
    name, rest = [*text.split(None, 1), "", ""][:2]
    if name not in known:
        return None
    rest = rest.strip()
    if not rest:
        return {"task": name}
    try:
        value = decode_json(rest)
    except json.JSONDecodeError:
        return {"task": name, "args": [_scalar(word) for word in _words(rest)]}
    except ValueError:
        # Invalid JSON such as NaN is kept as text, which the field's validation refuses with a reason.
        return {"task": name, "kwargs" if rest[0] == "{" else "args": rest}
    if isinstance(value, dict):
        return {"task": name, "kwargs": value}
    return {"task": name, "args": value if isinstance(value, list) else [value]}


def _scalar(word: str) -> Any:
    try:
        return decode_json(word)
    except ValueError:
        return word


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def _celery_call(text: str) -> dict[str, Any] | None:
    """`celery -A app call TASK --args='[1]' --kwargs='{}' --queue=q`, with anything before it."""
    words = _words(text)
    names = [word.rsplit("/", 1)[-1] for word in words]
    if "celery" not in names or "call" not in words[names.index("celery") :]:
        return None
    rest = deque(words[words.index("call", names.index("celery")) + 1 :])
    fields: dict[str, Any] = {}
    options = {
        "--args": "args",
        "-a": "args",
        "--kwargs": "kwargs",
        "-k": "kwargs",
        "--queue": "queue",
        "--expires": "expire_seconds",
    }
    while rest:
        word, joined, value = rest.popleft().partition("=")
        if word in options:
            fields[options[word]] = value if joined else (rest.popleft() if rest else "")
        elif not word.startswith("-") and "task" not in fields:
            fields["task"] = word
    return fields if "task" in fields else None
