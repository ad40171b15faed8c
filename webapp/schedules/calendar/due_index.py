"""An index of all enabled schedules, grouped by their due times, which each process caches and updates by revision.

100,000 schedules have a few thousand different recurrences: the database groups them, and one row of each is read.
Afterwards, as in beat, only rows above the last revision are read. Rows that beat cannot read are left out here too.
"""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from threading import Lock
from typing import NamedTuple

import sqlalchemy as sa
from flask import current_app

from webapp.extensions import db
from webapp.recurrence import Interval, Recurrence
from webapp.recurrence.due import grid_origin, interval_microseconds
from webapp.recurrence.zones import from_microseconds, to_microseconds
from webapp.run_store import sending
from webapp.run_store.message import Destination
from webapp.schedule_store.entries import Entry
from webapp.schedule_store.reader import BrokenRow, EntryReader
from webapp.schedule_store.rows import Row, all_rows, changed_rows, deleted_ids, latest_revision
from webapp.schedules.calendar.grouping import alike
from webapp.task_catalogue.registry import known_tasks

# Everything is read again after this time if the number of remaining runs is limited, which changes without an edit.
MAX_AGE_SECONDS = 600.0
# An interval's grid that began longer ago than this is replaced by an equal one with a later beginning.
GRID_AGE_MICROSECONDS = 2 * 86_400 * 1_000_000


class When(NamedTuple):
    """The due times of schedules: `recurrence` without the seed of its jitter. Moments are epoch seconds."""

    recurrence: Recurrence
    done: int
    paused_from: float | None
    paused_until: float | None

    def paused(self, due: float) -> bool:
        """Whether a due time falls into the pause, so that it is skipped."""
        if self.paused_from is None or due < self.paused_from:
            return False
        return self.paused_until is None or due < self.paused_until


class Group(NamedTuple):
    """The properties that a group of schedules has in common."""

    when: When
    task: str
    aim: Destination
    tags: frozenset[str] = frozenset()


class DueIndex:
    """The enabled schedules that can fire. `generation` grows with each change."""

    def __init__(self) -> None:
        self.generation = 0
        self.groups: Mapping[Group, set[int]] = {}
        self._groups: dict[Group, set[int]] = {}
        self._group_of: dict[int, Group] = {}
        self._revision: int | None = None
        self._read_at = 0.0
        self._plain: dict[Recurrence, Recurrence] = {}
        self._aims: dict[tuple[str | None, ...], Destination] = {}
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._group_of)

    def zones(self, count: int) -> list[str]:
        """The most used time zones, with most schedules first."""
        counts: Counter[str] = Counter()
        for group, ids in self._groups.items():
            counts[group.when.recurrence.timezone] += len(ids)
        return [name for name, _count in counts.most_common(count)]

    def refresh(self, connection: sa.Connection, now: datetime) -> None:
        """Read what was committed since the last time."""
        with self._lock:
            latest = latest_revision(connection)
            if self._revision is None or self._stale():
                self._read_all(connection, now)
            elif latest != self._revision:
                self._remove(deleted_ids(connection, self._revision))
                # Called for each row: `find_task` would build the whole list each time.
                reader = EntryReader(frozenset(known_tasks()).__contains__)
                self._take(reader, changed_rows(connection, self._revision), now)
                self._plain.clear()
            else:
                return
            self._revision = latest
            self.generation += 1
            self.groups = dict(self._groups)

    def _stale(self) -> bool:
        limited = any(group.when.recurrence.max_runs is not None for group in self._groups)
        return limited and time.monotonic() - self._read_at > MAX_AGE_SECONDS

    def _read_all(self, connection: sa.Connection, now: datetime) -> None:
        self._groups, self._group_of = {}, {}
        known = frozenset(known_tasks())
        reader = EntryReader(known.__contains__)
        if (gathered := alike(connection, known)) is not None:
            for row, ids in gathered:
                self._put(self._group(reader, row, now), ids)
        else:
            for rows in all_rows(connection):
                self._take(reader, rows, now)
                # Reading a hundred thousand takes seconds, in which other greenlets of this process have to run.
                time.sleep(0)
        self._plain.clear()
        self._read_at = time.monotonic()

    def _take(self, reader: EntryReader, rows: Iterable[Row], now: datetime) -> None:
        for row in rows:
            self._remove([row.id])
            if row.enabled:
                self._put(self._group(reader, row, now), [row.id])

    def _group(self, reader: EntryReader, row: Row, now: datetime) -> Group | None:
        """The group of a schedule; None if it cannot fire."""
        moment = now.timestamp()
        try:
            entry = reader.read(row, moment)
        except BrokenRow:
            return None
        when = _when(entry, moment, self._plain)
        return Group(when, row.task, self._aim(row), frozenset(entry.tags))

    def _aim(self, row: Row) -> Destination:
        """The destination of its messages, cached because 100,000 schedules have only a few different ones."""
        target = (row.task, row.queue, row.exchange, row.routing_key)
        if target not in self._aims:
            self._aims[target] = sending.destination_of(*target)
        return self._aims[target]

    def _put(self, group: Group | None, ids: Collection[int]) -> None:
        if group is not None:
            self._group_of.update(dict.fromkeys(ids, group))
            self._groups.setdefault(group, set()).update(ids)

    def _remove(self, ids: Iterable[int]) -> None:
        for schedule_id in ids:
            group = self._group_of.pop(schedule_id, None)
            if group is None:
                continue
            self._groups[group].discard(schedule_id)
            if not self._groups[group]:
                del self._groups[group]


def current(now: datetime) -> DueIndex:
    """This process's index, up to date."""
    index: DueIndex = current_app.extensions.setdefault("schedule_due_index", DueIndex())
    index.refresh(db.session.connection(), now)
    return index


def _when(entry: Entry, now: float, plain: dict[Recurrence, Recurrence]) -> When:
    """The due times of an entry. `plain` caches the result for equal recurrences, of which there are many."""
    recurrence = plain.get(entry.recurrence)
    if recurrence is None:
        recurrence = dataclasses.replace(_plain_grid(entry.recurrence, now), seed="")
        plain[entry.recurrence] = recurrence
    done = entry.done if recurrence.max_runs is not None else 0
    return When(recurrence, done, entry.policy.paused_from, entry.policy.paused_until)


def _plain_grid(recurrence: Recurrence, now: float) -> Recurrence:
    """The same recurrence for all intervals with the same grid, whenever the schedules were created."""
    if not isinstance(recurrence.rule, Interval):
        return recurrence
    origin, step = grid_origin(recurrence), interval_microseconds(recurrence.rule)
    if origin > now * 1_000_000 - GRID_AGE_MICROSECONDS - step:
        return recurrence
    moved = origin % step if recurrence.start is None else to_microseconds(recurrence.start) % step
    return dataclasses.replace(recurrence, start=None, anchor=from_microseconds(moved))
