"""What a row of a schedule means: its recurrence, and the entry that beat keeps of it.

A row that cannot fire raises BrokenRow with the reason, so that no row stops another.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from beatdesk.secrecy.embedded import sealed
from beatdesk.secrecy.masking import Rule as Secrets
from beatdesk.secrecy.sealing import Unopenable
from webapp.database.moments import seconds, utc
from webapp.queue_names import target_refusal
from webapp.recurrence import (
    Crontab,
    Interval,
    OneTime,
    Recurrence,
    RecurrenceError,
    Rule,
    Solar,
    next_due_timestamp,
    validate_recurrence,
)
from webapp.schedule_store.definition import Kind
from webapp.schedule_store.entries import Entry, Policy, Target
from webapp.schedule_store.models import Misfire, Overlap
from webapp.schedule_store.pauses import pause_text, read_tags
from webapp.schedule_store.rows import KINDS, Row, policy_columns, rule_columns, target_columns
from webapp.secrecy.rows import open_call
from webapp.task_catalogue.task_names import is_internal

LOWEST_PRIORITY, HIGHEST_PRIORITY = 0, 9
# Of what is kept to be shared among entries, at most this many of a kind: beyond it, sharing costs more memory than it
# saves.
MAX_SHARED = 10_000
# A schedule that seems to have come due further in the future than this was written before the clock was set back.
CLOCK_SET_BACK_SECONDS = 1.0

# What stands in JSON columns: what an empty one and `null` mean, and what it must be.
_JSON: dict[str, tuple[str, type]] = {"args": ("[]", list), "kwargs": ("{}", dict), "headers": ("{}", dict)}
_decoder = json.JSONDecoder()

# What else reading a row may raise that was written by hand.
UNREADABLE = (ValueError, TypeError, OverflowError, ArithmeticError, RecursionError)

Key = TypeVar("Key")
Value = TypeVar("Value")


class BrokenRow(Exception):
    """A schedule cannot fire; the text is the reason, for people."""


class _SharedRule:
    """A recurrence, and a stretch of time in which its next due time is known to be the same."""

    __slots__ = ("after", "due", "recurrence")

    def __init__(self, recurrence: Recurrence) -> None:
        self.recurrence = recurrence
        self.after = float("inf")
        self.due: float | None = None

    def next(self, after: float) -> float | None:
        """The first due time after a moment, regardless of how many runs were made."""
        if self.due is None or not self.after <= after < self.due:
            self.after, self.due = after, next_due_timestamp(self.recurrence, after)
        return self.due


class EntryReader:
    """Makes entries of rows, sharing equal parts among them: what was met before is known by its raw columns.

    `known_task` says whether a task may be scheduled, `rule_for` which of its arguments are secret; each is called
    once for a target or task, so a reader is for one load, or for a process whose tasks do not change.
    """

    def __init__(
        self, known_task: Callable[[str], bool], rule_for: Callable[[str], Secrets] = lambda _: Secrets()
    ) -> None:
        self._known_task = known_task
        self._rule_for = rule_for
        self._rules: dict[tuple[Any, ...], _SharedRule] = {}
        self._targets: dict[tuple[Any, ...], Target] = {}
        self._policies: dict[tuple[Any, ...], Policy] = {}
        self._secrets: dict[str, Secrets] = {}
        self._texts: dict[str, dict[str | None, str]] = {field: {} for field in _JSON}
        self._tags: dict[str | None, tuple[str, ...]] = {None: (), "": (), "[]": ()}

    def read(self, row: Row, now: float) -> Entry:
        """The entry of an enabled row, with its next due time. Raises BrokenRow when it cannot fire."""
        try:
            return self._read(row, now)
        except RecurrenceError as error:
            raise BrokenRow(f"{error.field}: {error}") from None
        except Unopenable as error:
            raise BrokenRow(str(error)) from None
        except UNREADABLE as error:
            raise BrokenRow(f"it cannot be read: {error}") from None

    def _read(self, row: Row, now: float) -> Entry:
        rule = self._rule(row)
        args, kwargs, sealed = self._call(row)
        target = self._targets.get(target_columns(row)) or self._target(row)
        policy = self._policies.get(policy_columns(row)) or self._policy(row)
        entry = Entry((row.id, row.name), (target, args, kwargs), rule.recurrence, policy)
        entry.sealed = sealed
        tags = self._tags.get(row.tags)
        entry.tags = _share(self._tags, row.tags, read_tags(row.tags)) if tags is None else tags
        entry.version, entry.revision, entry.done = row.version, row.revision, row.done
        entry.expect(_resume(row, rule, entry.done, now))
        return entry

    def _call(self, row: Row) -> tuple[str, str, str | None]:
        """The arguments as runs keep them: masked, and sealed, where some are secret; nearly always as they are."""
        args, kwargs = self._json("args", row.args), self._json("kwargs", row.kwargs)
        rule = self._secrets.get(row.task)
        if rule is None:
            rule = _share(self._secrets, row.task, self._rule_for(row.task))
        if not rule.concerns(args) and not rule.concerns(kwargs):
            return args, kwargs, None
        call = open_call(rule, row.task, json.loads(args), json.loads(kwargs))
        return (json.dumps(call.args), json.dumps(call.kwargs), call.sealed()) if call.any else (args, kwargs, None)

    def _json(self, field: str, text: str | None) -> str:
        """The text of a JSON column, once it is known to be what it must be."""
        known = self._texts[field].get(text)
        if known is not None:
            return known
        empty, kind = _JSON[field]
        given = text or empty
        try:
            value = _decoded(given)
        except ValueError as error:
            raise BrokenRow(f"{field} are not JSON: {error}") from None
        if value is None:
            return _share(self._texts[field], text, empty)
        if not isinstance(value, kind):
            raise BrokenRow(f"{field} must be a JSON {'list' if kind is list else 'object'}")
        return _share(self._texts[field], text, given)

    def _target(self, row: Row) -> Target:
        if is_internal(row.task):
            raise BrokenRow(f"{row.task} is one of Celery's own tasks, which are never scheduled")
        if not self._known_task(row.task):
            raise BrokenRow(f"the task {row.task} is not registered")
        if row.priority is not None and not LOWEST_PRIORITY <= row.priority <= HIGHEST_PRIORITY:
            raise BrokenRow(f"priority must be from {LOWEST_PRIORITY} to {HIGHEST_PRIORITY}, not {row.priority}")
        if reason := target_refusal(row.queue, row.exchange, row.routing_key):
            raise BrokenRow(reason)
        options: dict[str, Any] = {}
        if row.exchange:
            options["exchange"] = row.exchange
        if row.routing_key:
            options["routing_key"] = row.routing_key
        headers = json.loads(self._json("headers", row.headers))
        if headers:
            options["headers"] = sealed(headers, self._rule_for)
        text = json.dumps(options, sort_keys=True) if options else None
        return _share(self._targets, target_columns(row), Target(row.task, row.queue or None, row.priority, text))

    def _policy(self, row: Row) -> Policy:
        policy = Policy(
            Misfire(row.misfire),
            row.misfire_window,
            Overlap(row.overlap),
            row.expire_seconds,
            seconds(row.expires),
            seconds(row.paused_at),
            seconds(row.paused_until),
            pause_text(row.pause_reason or "", row.paused_by or "") if row.paused_at is not None else None,
        )
        return _share(self._policies, policy_columns(row), policy)

    def _rule(self, row: Row) -> _SharedRule:
        # A jitter is the schedule's own, the rest is shared.
        key = (*rule_columns(row), row.name) if row.jitter else rule_columns(row)
        known = self._rules.get(key)
        if known is None:
            recurrence = recurrence_of(row)
            validate_recurrence(recurrence)
            known = _SharedRule(recurrence)
            if len(self._rules) >= MAX_SHARED:
                # Those that edits brought; what is in use is shared already.
                self._rules.clear()
            self._rules[key] = known
        return known


def _share(known: dict[Key, Value], key: Key, value: Value) -> Value:
    if len(known) < MAX_SHARED:
        known[key] = value
    return value


def _decoded(text: str) -> Any:
    """As `json.loads`, in a fraction of the time for text without blanks around its value."""
    try:
        value, end = _decoder.raw_decode(text)
    except ValueError:
        return json.loads(text)
    return value if end == len(text) else json.loads(text)


def recurrence_of(row: Row) -> Recurrence:
    """When a row comes due, whether that can work or not. Raises BrokenRow when it does not say, and ValueError."""
    return Recurrence(
        rule=rule_of(row),
        timezone=timezone_of(row),
        start=utc(row.start_time),
        end=end_of(row),
        max_runs=1 if row.fired else row.max_runs,
        jitter=row.jitter or 0.0,
        seed=row.name if row.jitter else "",
        anchor=utc(row.anchor),
    )


def timezone_of(row: Row) -> str:
    """A crontab's own zone; for the other kinds the one in which people read its times."""
    zone: str = (row.crontab_timezone or "UTC") if KINDS.get(row.discriminator) is Kind.CRONTAB else row.timezone
    return zone


def end_of(row: Row) -> datetime | None:
    """After which nothing is due; the library's own `expires` bounds it too."""
    ends = [end for end in (utc(row.ends_at), utc(row.expires)) if end is not None]
    return min(ends, default=None)


def rule_of(row: Row) -> Rule:
    """The rule that its kind's table has. Raises BrokenRow when there is none."""
    if row.rule_id is None:
        raise BrokenRow(f"its {row.discriminator or 'schedule'} row is missing")
    match KINDS[row.discriminator]:
        case Kind.INTERVAL:
            return Interval(row.every, row.period)
        case Kind.CRONTAB:
            return Crontab(row.minute, row.hour, row.day_of_month, row.month_of_year, row.day_of_week)
        case Kind.SOLAR:
            return Solar(row.event, float(row.latitude), float(row.longitude))
        case Kind.CLOCKED:
            at = utc(row.clocked_time)
            if at is None:
                raise BrokenRow("its time is missing")
            return OneTime(at)


def _resume(row: Row, rule: _SharedRule, done: int, now: float) -> float | None:
    """The due time that a schedule waits for.

    1. None if all its runs were made.
    2. The one that was noted when it last fired, if nothing was edited since and the clock was not set back since.
    3. Else the first one after the edit or after the last one accounted for, whichever is later.

    It may have passed while no beat led: then it is a misfire. It never lies before the edit.
    """
    most = rule.recurrence.max_runs
    if most is not None and done >= most:
        return None
    last = seconds(row.last_due_at)
    set_back = last is not None and last > now + CLOCK_SET_BACK_SECONDS
    if row.progress_revision == row.revision and row.next_due_at is not None and not set_back:
        return seconds(row.next_due_at)
    edited = seconds(row.changed_at) or 0.0
    return rule.next(min(now, max(edited, last or 0.0)))
