"""A schedule for pages: what beat reads of its row, in words and as JSON values, and what only people want to know.

Other programs may have written the row. Why it cannot fire is its `problem`; the rest of it is shown all the same.
No Flask here.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session, scoped_session

from webapp.database.dialects import Many, one_of
from webapp.recurrence import (
    DueTime,
    Recurrence,
    RecurrenceError,
    Rule,
    describe,
    due_times,
    jitter_seconds,
)
from webapp.schedule_store.definition import DEFAULTS, Kind, iso, rule_values
from webapp.schedule_store.pauses import read_tags
from webapp.schedule_store.reader import UNREADABLE, BrokenRow, EntryReader, end_of, recurrence_of, timezone_of
from webapp.schedule_store.rows import KINDS, TASKS, Row, select_schedules, typed_row
from webapp.task_catalogue.registry import find_task, rule_for
from webapp.web.formats import plural

AnySession = Session | scoped_session[Any]


@dataclass(frozen=True)
class Stored:
    """One schedule with everything that is known of it. Moments are aware, in UTC.

    `withdrawn`: after an edit, the due times that were to be skipped and are none any more.
    """

    row: Row
    withdrawn: Sequence[datetime] = ()

    @property
    def id(self) -> int:
        """Its number, in addresses and in runs."""
        return int(self.row.id)

    @property
    def name(self) -> str:
        """Its name, which no other schedule has."""
        return str(self.row.name)

    @cached_property
    def kind(self) -> Kind | None:
        """Which kind its rule is; None when the row names an unknown kind."""
        return KINDS.get(self.row.discriminator)

    @property
    def rule(self) -> Rule | None:
        """Its rule; None when it cannot be read."""
        return None if self.recurrence is None else self.recurrence.rule

    @property
    def timezone(self) -> str:
        """In which people read its times, and a crontab's fields are meant."""
        return timezone_of(self.row) or "UTC"

    @property
    def max_runs(self) -> int | None:
        """After how many runs it ends; None for never."""
        limit: int | None = self.row.max_runs
        return limit

    @property
    def fired(self) -> bool:
        """Whether it was to run once and has."""
        return bool(self.row.fired)

    @property
    def runs(self) -> int:
        """How many runs were made that its maximum counts; none of those before beat switched it off."""
        return int(self.row.done)

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
        """After which nothing is due."""
        return end_of(self.row)

    @cached_property
    def recurrence(self) -> Recurrence | None:
        """The recurrence that its due times follow from; None when its rule cannot be read."""
        try:
            return recurrence_of(self.row)
        except (BrokenRow, *UNREADABLE):
            return None

    @cached_property
    def problem(self) -> str | None:
        """Why it cannot fire: what beat found, or will find."""
        found: str | None = self.row.broken
        if found or self.row.progress_revision == self.row.revision:
            return found
        try:
            EntryReader(lambda name: find_task(name) is not None, rule_for).read(self.row, time.time())
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
        if self.recurrence is None:
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
        return list(read_tags(self.row.tags))

    @cached_property
    def code_definition(self) -> dict[str, Any] | None:
        """What the code says of it, in the form of a snapshot; None when the code does not define it."""
        found = _json(self.row.code_definition)
        return found if isinstance(found, dict) else None

    @cached_property
    def snapshot(self) -> dict[str, Any]:
        """What it says, in the form of `Definition.snapshot`, even when that is not legal."""
        row = self.row
        plain = {name: value for name in DEFAULTS if (value := getattr(row, name, None)) not in (None, "")}
        return {
            **DEFAULTS,
            **plain,
            "name": self.name,
            "task": row.task,
            "kind": self.kind and self.kind.value,
            "enabled": bool(row.enabled) and not self.fired,
            "timezone": self.timezone,
            "args": _json(row.args or "[]", []),
            "kwargs": _json(row.kwargs or "{}", {}),
            "start": row.start_time and iso(row.start_time),
            "end": self.end and iso(self.end),
            "tags": self.tags,
            **({} if self.rule is None else rule_values(self.rule)),
        }

    @property
    def beat_values(self) -> dict[str, Any]:
        """Its snapshot with what else concerns a beat of Celery's, for `sources.beat_export`."""
        headers = _json(self.row.headers)
        return {**self.snapshot, "headers": headers, "paused": self.paused, "problem": self.problem}


def _json(text: str | None, null: Any = None) -> Any:
    """The value of a JSON text, or the text itself when it is not JSON; what `null` stands for."""
    if text is None:
        return null
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return null if found is None else found


def load(session: AnySession | sa.Connection, query: sa.Select[Any], **given: Any) -> list[Stored]:
    """The schedules that a query of `select_schedules` finds, in its order, with these parameters."""
    return [Stored(typed_row(row)) for row in session.execute(query, given)]


def find(session: AnySession | sa.Connection, schedule_id: int) -> Stored | None:
    """One schedule by its number."""
    return next(iter(load(session, select_schedules().where(TASKS.c.id == schedule_id))), None)


def find_named(session: AnySession, name: str) -> Stored | None:
    """One schedule by its name."""
    return next(iter(load(session, select_schedules().where(TASKS.c.name == name))), None)


_BY_IDS = select_schedules().where(one_of(TASKS.c.id, sa.bindparam("ids", type_=Many()))).order_by(TASKS.c.name)


def find_many(session: AnySession, ids: Iterable[int]) -> Sequence[Stored]:
    """Several schedules by their numbers, in the order of their names."""
    return load(session, _BY_IDS, ids=list(ids))
