"""The schedules in force: loaded once, then kept up to date by revision, never by comparing clocks or whole tables."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from itertools import islice
from typing import NamedTuple

import sqlalchemy as sa
from celery.utils.log import get_logger

from beatdesk.secrecy.masking import Rule
from webapp.database.moments import seconds
from webapp.database.reads import reading
from webapp.schedule_store.entries import Entry
from webapp.schedule_store.pause_rows import unsettled
from webapp.schedule_store.pauses import Pause
from webapp.schedule_store.reader import CLOCK_SET_BACK_SECONDS, BrokenRow, EntryReader, end_of
from webapp.schedule_store.rows import Row, all_rows, changed_rows, changes_since, deleted_ids, latest_revision
from webapp.scheduler import progress
from webapp.scheduler.agenda import Agenda
from webapp.scheduler.progress import Finished, Kept, Note

logger = get_logger(__name__)


class Change(NamedTuple):
    """What has changed up to a revision."""

    revision: int
    rows: list[Row]
    deleted: list[int]
    pauses: list[Pause]


class Schedules:
    """Keeps the agenda equal to the tables.

    `notes` collects what is to be written to `schedule_progress`, by schedule. None stands for what the entry waits for
    when it is written, so that 100,000 new schedules need no value each.
    `pauses` are those of everything and of tags that are planned, on, or to be caught up: a few, however many
    schedules they hold.
    """

    def __init__(self, agenda: Agenda, known_task: Callable[[str], bool], rule_for: Callable[[str], Rule]) -> None:
        self.agenda = agenda
        self._reader = EntryReader(known_task, rule_for)
        self.revision = -1
        self.notes: dict[int, Note | None] = {}
        self.pauses: list[Pause] = []
        self._finished: dict[int, int] = {}

    @property
    def loaded(self) -> bool:
        """Whether everything was read once."""
        return self.revision >= 0

    def load(self, engine: sa.Engine, now: float) -> None:
        """Read everything, from the revision that is current before the first row is read."""
        entries: list[Entry] = []
        self.notes.clear()
        self._finished.clear()
        # Nothing of what is made here is garbage; looking for it among millions of new objects would double the time.
        gc.disable()
        try:
            with reading(engine) as connection:
                revision = latest_revision(connection)
                pauses = unsettled(connection)
            with reading(engine, streaming=True) as connection:
                for chunk in all_rows(connection):
                    entries += [entry for row in chunk if (entry := self._read(row, now)) is not None]
            self.agenda.replace_all(entries)
            self.pauses, self.revision = pauses, revision
        finally:
            gc.enable()
        # Later collections need not walk through all schedules either: each would delay what is due meanwhile.
        gc.freeze()

    def resume(self, engine: sa.Engine, now: float) -> None:
        """Go on where the former leader stopped: take over how far each schedule has come."""
        with reading(engine) as connection:
            self.pauses = unsettled(connection)
            for kept in progress.kept(connection):
                entry = self.agenda.entries.get(kept.schedule_id)
                if entry is not None:
                    _catch_up(entry, kept, now)
        self.agenda.rebuild()

    def clock_set_back(self, now: float) -> None:
        """Wait for the due times that come again. Those that were fired already are not fired twice."""
        for entry in self.agenda.entries.values():
            due = entry.following(now)
            if due is not None and (entry.next_due is None or due < entry.next_due):
                entry.expect(due)
        self.agenda.rebuild()

    def give_up(self, entry: Entry, reason: str) -> None:
        """Mark an entry that cannot be fired as broken, until its row changes."""
        logger.warning("Schedule %s (%s) is broken: %s", entry.id, entry.name, reason)
        self.agenda.remove(entry.id)
        self.notes[entry.id] = Note(entry.id, None, reason, entry.revision)

    def finished(self, most: int) -> list[Finished]:
        """Enabled schedules that have nothing to wait for, such as a time that had passed when it was saved."""
        return [Finished(*found) for found in islice(self._finished.items(), most)]

    def forget(self, finished: Sequence[Finished]) -> None:
        """Forget schedules that were switched off."""
        for one in finished:
            if self._finished.get(one.schedule_id) == one.revision:
                del self._finished[one.schedule_id]
                self.agenda.remove(one.schedule_id)

    def unwritten(self, most: int) -> list[Note]:
        """The next notes to write; once written, they go to `written`."""
        found = []
        for schedule_id, made in list(islice(self.notes.items(), most)):
            entry = self.agenda.entries.get(schedule_id)
            if made is not None:
                found.append(made)
            elif entry is not None:
                found.append(Note(schedule_id, entry.next_due, None, entry.revision))
            else:
                # It has gone since.
                del self.notes[schedule_id]
        return found

    def written(self, notes: Sequence[Note]) -> None:
        """Forget notes that were written."""
        for made in notes:
            del self.notes[made.schedule_id]

    def ended(self, row: Row, now: float) -> Entry | None:
        """The entry of a schedule that was switched off because nothing more of it comes due; None for others."""
        over = [end for end in (seconds(row.clocked_time), seconds(end_of(row))) if end is not None]
        if row.enabled or not over or min(over) > now:
            return None
        try:
            return self._reader.read(row, now)
        except BrokenRow:
            return None

    def spent(self, entry: Entry) -> None:
        """An entry has made its last run otherwise than by coming due: it is to be switched off."""
        entry.expect(None)
        self._finished[entry.id] = entry.revision

    def look(self, engine: sa.Engine) -> Change | None:
        """What has changed since the revision in force, or None."""
        with reading(engine) as connection:
            found = changes_since(connection, self.revision)
            if found.revision == self.revision:
                return None
            if found.revision < self.revision:
                # Another database, or an older state of it.
                self.revision = -1
                return None
            changed = changed_rows(connection, self.revision)
            deleted = deleted_ids(connection, self.revision) if found.deleted else []
            return Change(found.revision, changed, deleted, unsettled(connection) if found.paused else [])

    def unfired_before(self, change: Change) -> bool:
        """Whether a schedule that changed, and goes on, came due before its change and was not fired yet."""
        return any(
            row.enabled
            and row.paused_at is None
            and (entry := self.agenda.entries.get(row.id)) is not None
            and entry.next_due is not None
            and entry.fires_at <= (seconds(row.changed_at) or 0.0)
            for row in change.rows
        )

    def apply(self, change: Change, now: float) -> None:
        """Put a change in force."""
        self.pauses = change.pauses
        for schedule_id in change.deleted:
            self.agenda.remove(schedule_id)
            self._finished.pop(schedule_id, None)
            self.notes.pop(schedule_id, None)
        for row in change.rows:
            former = self.agenda.entries.get(row.id)
            if former is not None and former.revision == row.revision:
                continue
            entry = self._read(row, now)
            if entry is None:
                self.agenda.remove(row.id)
            else:
                self.agenda.put(entry)
        self.revision = change.revision

    def _read(self, row: Row, now: float) -> Entry | None:
        """The entry of a row, or None when it is disabled or broken; and what is to be noted about it."""
        if not row.enabled:
            self._finished.pop(row.id, None)
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
            self.notes[row.id] = None
        if entry.next_due is None:
            self._finished[row.id] = row.revision
        else:
            self._finished.pop(row.id, None)
        return entry


def _catch_up(entry: Entry, kept: Kept, now: float) -> None:
    entry.done = max(entry.done, 0 if kept.revision is None else kept.runs)
    most = entry.recurrence.max_runs
    if most is not None and entry.done >= most:
        entry.expect(None)
        return
    last, due = seconds(kept.last_due_at), entry.next_due
    set_back = last is not None and last > now + CLOCK_SET_BACK_SECONDS
    if kept.revision == entry.revision and kept.next_due_at is not None and not set_back:
        due = seconds(kept.next_due_at)
    elif last is not None and not set_back and due is not None and due <= last:
        due = entry.following(last)
    if due != entry.next_due:
        entry.expect(due)
