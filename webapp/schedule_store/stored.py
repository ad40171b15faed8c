"""Schedules as they lie in the tables: one query with everything, and what it means.

A row may have been written by anybody. What cannot be read is told as `problem`, and everything else goes on.
No Flask here.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, cached_property
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session, scoped_session

from webapp.database.dialects import Many, one_of
from webapp.recurrence import (
    Crontab,
    DueTime,
    Interval,
    OneTime,
    Recurrence,
    RecurrenceError,
    Rule,
    Solar,
    describe,
    due_times,
    jitter_seconds,
)
from webapp.schedule_store.definition import DEFAULTS, TARGETS, Kind, iso
from webapp.schedule_store.reader import UNREADABLE, BrokenRow, EntryReader, recurrence_of
from webapp.schedule_store.rows import KINDS, TASKS, Row, select_schedules
from webapp.task_catalogue.registry import find_task, rule_for
from webapp.web.formats import plural

AnySession = Session | scoped_session[Any]


_SAME_FIELDS = ("name", "task", "priority", "expire_seconds", "misfire")


@dataclass(frozen=True)
class Stored:
    """One schedule with everything that is known of it. Moments are aware, in UTC.

    `withdrawn`: after an edit, the due times that were to be skipped and are none any more.
    """

    row: sa.Row[Any]
    withdrawn: Sequence[datetime] = ()

    @property
    def id(self) -> int:
        """Its number, in addresses and in runs."""
        return int(self.row.id)

    @property
    def name(self) -> str:
        """What people call it."""
        return str(self.row.name)

    @cached_property
    def kind(self) -> Kind | None:
        """Which kind its rule is; None when the row names a kind that nobody knows."""
        return KINDS.get(self.row.discriminator)

    @cached_property
    def rule(self) -> Rule | None:
        """Its rule; None when the row that it names is gone."""
        row = self.row
        if self.kind is None or self._rule_id is None:
            return None
        match self.kind:
            case Kind.INTERVAL:
                return Interval(row.every, row.period)
            case Kind.CRONTAB:
                return Crontab(row.minute, row.hour, row.day_of_month, row.month_of_year, row.day_of_week)
            case Kind.SOLAR:
                return Solar(row.event, float(row.latitude), float(row.longitude))
            case Kind.CLOCKED:
                at = utc(row.clocked_time)
                return None if at is None else OneTime(at)

    @property
    def timezone(self) -> str:
        """A crontab's own zone; for the other kinds the one in which people read its times."""
        zone = self.row.crontab_timezone if self.kind == Kind.CRONTAB else self.row.timezone
        return zone or "UTC"

    @property
    def max_runs(self) -> int | None:
        """The library's `one_off` means once, whatever the kind."""
        if self.row.one_off and self.kind != Kind.CLOCKED:
            return 1
        limit: int | None = self.row.max_runs
        return limit

    @property
    def fired(self) -> bool:
        """Whether it was to run once and has: other programs count its run in the library's own column."""
        return bool(self.row.one_off and self.row.total_run_count)

    @property
    def runs(self) -> int:
        """How many runs were made that its maximum counts; none of those before beat switched it off."""
        counted = 0 if self.row.progress_revision is None else self.row.runs or 0
        return max(counted, int(self.fired))

    @property
    def made(self) -> int:
        """The same for people: once beat has switched it off, how many it had made by then."""
        return max(self.row.runs or 0, int(self.fired)) if self._spent else self.runs

    @property
    def _spent(self) -> bool:
        row = self.row
        return not row.enabled and row.last_due_at is not None and row.progress_revision is None

    @cached_property
    def finished(self) -> str | None:
        """Why it is off although no person disabled it, as a sentence; None for others."""
        if self.fired or (self._spent and self.kind == Kind.CLOCKED):
            return "It has run once, as set."
        if not self._spent:
            return None
        if self.max_runs is not None and self.made >= self.max_runs:
            return f"It has reached its maximum of {plural(self.max_runs, 'run')}."
        return "Its end has passed." if self.end is not None else None

    @property
    def end(self) -> datetime | None:
        """After which nothing is due; the library's own `expires` bounds it too."""
        ends = [end for end in (self.row.ends_at, utc(self.row.expires)) if end is not None]
        return min(ends, default=None)

    @cached_property
    def _as_beat_reads_it(self) -> Row:
        found = {name: getattr(self.row, name) for name in Row._fields if name not in ("rule_id", "fired")}
        return Row(**found, rule_id=self._rule_id, fired=self.fired)

    @property
    def _rule_id(self) -> int | None:
        """The number of the row that says when, if that is there."""
        found: int | None = getattr(self.row, f"{self.kind}_id") if self.kind is not None else None
        return found

    @cached_property
    def recurrence(self) -> Recurrence | None:
        """Its due times' rule, or None when there is none to read."""
        try:
            return recurrence_of(self._as_beat_reads_it)
        except (BrokenRow, *UNREADABLE):
            return None

    @cached_property
    def problem(self) -> str | None:
        """Why it cannot fire: what beat found, or will find."""
        found: str | None = self.row.broken
        if found or (self.row.revision is not None and self.row.progress_revision == self.row.revision):
            return found
        try:
            EntryReader(lambda name: find_task(name) is not None, rule_for).read(self._as_beat_reads_it, time.time())
        except BrokenRow as error:
            return str(error)
        return None

    @cached_property
    def words(self) -> str:
        """When it is due, in plain words."""
        if self.recurrence is None:
            return "no valid schedule"
        try:
            return describe(self.recurrence)
        except RecurrenceError:
            return "no valid schedule"

    def due_times(self, after: datetime, count: int) -> list[DueTime]:
        """Its next due times; none for one that cannot fire. Does not look at whether it is enabled."""
        if self.recurrence is None:
            return []
        try:
            return due_times(self.recurrence, after, count, self.runs)
        except RecurrenceError:
            return []

    def fires_at(self, due: datetime) -> datetime:
        """When beat creates the run of a due time: then, or its jitter later."""
        if self.recurrence is None or self.recurrence.jitter <= 0:
            return due
        return due + timedelta(seconds=jitter_seconds(self.recurrence, due.timestamp()))

    def is_due(self, moment: datetime) -> bool:
        """Whether a moment is one of its due times. Does not look at whether it is enabled."""
        return [due.utc for due in self.due_times(moment - timedelta.resolution, 1)] == [moment]

    @property
    def paused(self) -> bool:
        """Whether a pause was set; a pause with an end in the past is over as soon as beat looks."""
        return self.row.paused_at is not None

    @cached_property
    def tags(self) -> list[str]:
        """Its tags; none when they cannot be read."""
        found = _json(self.row.tags)
        return [tag for tag in found if isinstance(tag, str)] if isinstance(found, list) else []

    @cached_property
    def code_definition(self) -> dict[str, Any] | None:
        """What the code says of it, in the form of a snapshot; None when the code does not define it."""
        found = _json(self.row.code_definition)
        return found if isinstance(found, dict) else None

    @cached_property
    def snapshot(self) -> dict[str, Any]:
        """What it says, in the form of `Definition.snapshot`, even when that is not legal."""
        row, values = self.row, dict(DEFAULTS)
        values |= {name: getattr(row, name) for name in _SAME_FIELDS if getattr(row, name) is not None}
        values |= {name: getattr(row, name) or None for name in TARGETS}
        values |= {
            "enabled": bool(row.enabled) and not self.fired,
            "kind": self.kind.value if self.kind else None,
            "timezone": self.timezone,
            "queue": row.queue or None,
            "args": _json(row.args or "[]", []),
            "kwargs": _json(row.kwargs or "{}", {}),
            "start": _iso(utc(row.start_time)),
            "end": _iso(self.end),
            "max_runs": self.max_runs,
            "jitter": row.jitter or 0.0,
            "misfire_window": row.misfire_window if row.misfire_window is not None else DEFAULTS["misfire_window"],
            "overlap": row.overlap or DEFAULTS["overlap"],
            "failure_budget": row.failure_budget,
            "description": row.description or "",
            "tags": self.tags,
        }
        match self.rule:
            case Interval(every=every, period=period):
                values |= {"every": every, "period": period}
            case Crontab() as crontab:
                values |= {"crontab": crontab.line}
            case Solar(event=event, latitude=latitude, longitude=longitude):
                values |= {"event": event, "latitude": latitude, "longitude": longitude}
            case OneTime(at=at):
                values |= {"at": iso(at)}
        return values

    @property
    def beat_values(self) -> dict[str, Any]:
        """Its snapshot with what else concerns a beat of Celery's, for `sources.beat_export`."""
        headers = _json(self.row.headers)
        return {**self.snapshot, "headers": headers, "paused": self.paused, "problem": self.problem}


def utc(moment: datetime | None) -> datetime | None:
    """A moment of the library's columns, which SQLite gives without its zone."""
    if moment is None:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else iso(moment)


def _json(text: str | None, null: Any = None) -> Any:
    """The value of a JSON text, or the text itself when it is not JSON; what `null` stands for."""
    if text is None:
        return null
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return null if found is None else found


def load(session: AnySession | sa.Connection, query: sa.Select[Any]) -> list[Stored]:
    """The schedules that a query of `select_schedules` finds, in its order."""
    return [Stored(row) for row in session.execute(query)]


def find(session: AnySession | sa.Connection, schedule_id: int) -> Stored | None:
    """One schedule by its number."""
    found = load(session, select_schedules().where(TASKS.c.id == schedule_id))
    return found[0] if found else None


def find_named(session: AnySession, name: str) -> Stored | None:
    """One schedule by its name."""
    found = load(session, select_schedules().where(TASKS.c.name == name))
    return found[0] if found else None


def find_many(session: AnySession, ids: Iterable[int]) -> Sequence[Stored]:
    """Several schedules by their numbers, in the order of their names."""
    return [Stored(row) for row in session.execute(_many(), {"ids": list(ids)})]


@cache
def _many() -> sa.Select[Any]:
    """Put together once: that takes longer than to read a page of them."""
    chosen = one_of(TASKS.c.id, sa.bindparam("ids", type_=Many()))
    return select_schedules().where(chosen).order_by(TASKS.c.name)
