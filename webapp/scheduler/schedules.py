"""The schedules in force: loaded once, then kept up to date by revision, never by comparing clocks or whole tables."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import NamedTuple

import sqlalchemy as sa
from celery.utils.log import get_logger

from webapp.scheduler.agenda import Agenda
from webapp.scheduler.database import reading, seconds
from webapp.scheduler.entries import Entry
from webapp.scheduler.progress import Note
from webapp.scheduler.reader import BrokenRow, EntryReader
from webapp.scheduler.rows import Row, changed_rows, deleted_ids, every_row, latest_revision

logger = get_logger(__name__)


class Change(NamedTuple):
    """What has changed up to a revision."""

    revision: int
    rows: list[Row]
    deleted: list[int]


class Schedules:
    """Keeps the agenda equal to the tables. `notes` collects what is to be written to `schedule_progress`."""

    def __init__(self, agenda: Agenda, known_task: Callable[[str], bool]) -> None:
        self._agenda = agenda
        self._reader = EntryReader(known_task)
        self.revision = -1
        self.notes: dict[int, Note] = {}

    @property
    def loaded(self) -> bool:
        """Whether everything was read once."""
        return self.revision >= 0

    def load(self, engine: sa.Engine, now: float) -> None:
        """Read everything, from the revision that is current before the first row is read."""
        entries: list[Entry] = []
        self.notes.clear()
        # Nothing of what is made here is garbage; looking for it among millions of new objects would double the time.
        gc.disable()
        try:
            with reading(engine) as connection:
                revision = latest_revision(connection)
                for chunk in every_row(connection):
                    entries += [entry for row in chunk if (entry := self._read(row, now)) is not None]
            self._agenda.replace_all(entries)
            self.revision = revision
        finally:
            gc.enable()
        # Later collections need not walk through all schedules either: each would delay what is due meanwhile.
        gc.freeze()

    def look(self, engine: sa.Engine) -> Change | None:
        """What has changed since the revision in force, or None."""
        with reading(engine) as connection:
            latest = latest_revision(connection)
            if latest == self.revision:
                return None
            if latest < self.revision:
                # Another database, or an older state of it.
                self.revision = -1
                return None
            return Change(latest, changed_rows(connection, self.revision), deleted_ids(connection, self.revision))

    def unfired_before(self, change: Change) -> bool:
        """Whether a schedule that changed, and goes on, came due before its change and was not fired yet."""
        return any(
            row.enabled
            and row.paused_at is None
            and (entry := self._agenda.entries.get(row.id)) is not None
            and entry.next_due is not None
            and entry.fires_at <= (seconds(row.changed_at) or 0.0)
            for row in change.rows
        )

    def apply(self, change: Change, now: float) -> None:
        """Put a change in force."""
        for schedule_id in change.deleted:
            self._agenda.remove(schedule_id)
            self.notes.pop(schedule_id, None)
        for row in change.rows:
            former = self._agenda.entries.get(row.id)
            if former is not None and former.revision == row.revision:
                continue
            entry = self._read(row, now)
            if entry is None:
                self._agenda.remove(row.id)
            else:
                self._agenda.put(entry)
        self.revision = change.revision

    def _read(self, row: Row, now: float) -> Entry | None:
        """The entry of a row, or None when it is disabled or broken; and what is to be noted about it."""
        if not row.enabled:
            if row.broken is not None or row.next_due_at is not None:
                self.notes[row.id] = Note(row.id, None, None, row.revision)
            return None
        try:
            entry = self._reader.read(row, now)
        except BrokenRow as error:
            reason = str(error)
            if row.broken != reason:
                logger.warning("Schedule %s (%s) is broken: %s", row.id, row.name, reason)
            if row.broken != reason or row.progress_revision != row.revision:
                self.notes[row.id] = Note(row.id, None, reason, row.revision)
            return None
        if (
            row.progress_revision != row.revision
            or row.broken is not None
            or seconds(row.next_due_at) != entry.next_due
        ):
            self.notes[row.id] = Note(row.id, entry.next_due, None, row.revision)
        return entry
