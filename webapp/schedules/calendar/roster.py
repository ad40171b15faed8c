"""Which schedules come due, gathered by when: kept in each process and brought up to date from what changed.

With 100,000 schedules there are a few thousand different whens: the database gathers them, and one of each is read.
Afterwards the roster reads, as beat does, only rows above the revision that it has. A row that beat could not read is
left out, as beat leaves it out.
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

# How often everything is read again where something counts that is no edit: how many runs are left.
SECONDS_KEPT = 600.0
# A grid that began longer ago than this is the same as one that began a few steps later.
LONG_AGO = 2 * 86_400 * 1_000_000


class When(NamedTuple):
    """When schedules come due: `recurrence` without its jitter's seed. Moments are epoch seconds."""

    recurrence: Recurrence
    done: int
    paused_from: float | None
    paused_until: float | None

    def paused(self, due: float) -> bool:
        """Whether a due time falls into the pause: it is skipped then."""
        if self.paused_from is None or due < self.paused_from:
            return False
        return self.paused_until is None or due < self.paused_until


class Group(NamedTuple):
    """What a number of schedules have in common."""

    when: When
    task: str
    aim: Destination
    tags: frozenset[str] = frozenset()


class Roster:
    """The enabled schedules that can fire. `generation` grows with each change of them."""

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

    def zones(self, most: int) -> list[str]:
        """The zones of most schedules, the most used one first."""
        counts: Counter[str] = Counter()
        for group, ids in self._groups.items():
            counts[group.when.recurrence.timezone] += len(ids)
        return [name for name, _count in counts.most_common(most)]

    def refresh(self, connection: sa.Connection, now: datetime) -> None:
        """Take in what was committed since the last time."""
        with self._lock:
            latest = latest_revision(connection)
            if self._revision is None or self._stale():
                self._read_all(connection, now)
            elif latest != self._revision:
                self._remove(deleted_ids(connection, self._revision))
                # Asked for each row: `find_task` would make the whole list each time.
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
        return limited and time.monotonic() - self._read_at > SECONDS_KEPT

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
                # Reading a hundred thousand takes seconds: other greenlets of this process get their turn.
                time.sleep(0)
        self._plain.clear()
        self._read_at = time.monotonic()

    def _take(self, reader: EntryReader, rows: Iterable[Row], now: datetime) -> None:
        for row in rows:
            self._remove([row.id])
            if row.enabled:
                self._put(self._group(reader, row, now), [row.id])

    def _group(self, reader: EntryReader, row: Row, now: datetime) -> Group | None:
        """What a schedule has in common with others; None for one that cannot fire."""
        moment = now.timestamp()
        try:
            entry = reader.read(row, moment)
        except BrokenRow:
            return None
        when = _when(entry, moment, self._plain)
        return Group(when, row.task, self._aim(row), frozenset(entry.tags))

    def _aim(self, row: Row) -> Destination:
        """Where its messages go: of 100,000 schedules there are a few such places."""
        asked = (row.task, row.queue, row.exchange, row.routing_key)
        if asked not in self._aims:
            self._aims[asked] = sending.destination_of(*asked)
        return self._aims[asked]

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


def current(now: datetime) -> Roster:
    """This process's roster, up to date."""
    roster: Roster = current_app.extensions.setdefault("schedule_roster", Roster())
    roster.refresh(db.session.connection(), now)
    return roster


def _when(entry: Entry, now: float, plain: dict[Recurrence, Recurrence]) -> When:
    """`plain` keeps what was found for equal recurrences: most of 100,000 are equal to another."""
    recurrence = plain.get(entry.recurrence)
    if recurrence is None:
        recurrence = dataclasses.replace(_plain_grid(entry.recurrence, now), seed="")
        plain[entry.recurrence] = recurrence
    done = entry.done if recurrence.max_runs is not None else 0
    return When(recurrence, done, entry.policy.paused_from, entry.policy.paused_until)


def _plain_grid(recurrence: Recurrence, now: float) -> Recurrence:
    """Of intervals with the same points one and the same: most differ only in when somebody made them."""
    if not isinstance(recurrence.rule, Interval):
        return recurrence
    origin, step = grid_origin(recurrence), interval_microseconds(recurrence.rule)
    if origin > now * 1_000_000 - LONG_AGO - step:
        return recurrence
    moved = origin % step if recurrence.start is None else to_microseconds(recurrence.start) % step
    return dataclasses.replace(recurrence, start=None, anchor=from_microseconds(moved))
