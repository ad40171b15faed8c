"""A rehearsal: what schedules would fire in a period, computed by the functions that beat uses."""

from __future__ import annotations

import dataclasses
import heapq
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

from webapp.extensions import db
from webapp.recurrence import ByMinute, Crontab, DueTime, Recurrence, by_minute, clock_changes, due_times
from webapp.run_store.skipping import skipped_ahead
from webapp.schedule_store import stored
from webapp.schedule_store.pause_rows import unsettled
from webapp.schedule_store.pauses import Pause, pause_text
from webapp.schedule_store.status import comes_due
from webapp.schedule_store.stored import Stored
from webapp.schedules import fields
from webapp.schedules.calendar.grid import Day, day_begins
from webapp.schedules.list import listing
from webapp.schedules.list.listing import Filters
from webapp.web.bodies import is_empty
from webapp.web.errors import Invalid

MAX_PERIOD = timedelta(days=366)
MAX_SCHEDULES = 500
# The limits of counting, listing and exporting due times, for all schedules together.
MAX_COUNTED = 400_000
SHOWN = 50
MAX_EXPORTED = 20_000
# Up to this many days are shown hour by hour, longer periods day by day.
MAX_HOURLY_DAYS = 31
# How many due times are computed at once, and at most for one schedule around one clock change.
BATCH_SIZE, MAX_AROUND_CHANGE = 32, 400
AROUND_CHANGE = timedelta(hours=3)
INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Fire:
    """One due time of a schedule; `held` is why nothing runs then, or empty."""

    schedule: Stored
    due: DueTime
    held: str = ""


@dataclass(frozen=True, slots=True)
class Quiet:
    """A span in which nothing runs, and why; open-ended if `end` is None."""

    start: datetime
    end: datetime | None
    reason: str

    def has(self, moment: datetime) -> bool:
        """Whether a moment lies in the span."""
        return self.start <= moment and (self.end is None or moment < self.end)


@dataclass(frozen=True, slots=True)
class RehearsedSchedule:
    """One schedule: how often it would fire, its first and last due time, and due times with a note."""

    schedule: Stored
    fires: int
    held: int
    first: datetime
    last: datetime
    notes: Sequence[Fire]


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """How often each schedule would fire, and all schedules together in each hour of each day in a time zone.

    `cut` names schedules that are not counted because there are too many due times; `left_out` is whether more
    schedules match than are rehearsed.
    """

    start: datetime
    end: datetime
    rehearsed: Sequence[RehearsedSchedule]
    total: int
    days: Sequence[Day]
    counts: Counter[tuple[date, int]]
    cut: Sequence[str]
    left_out: bool
    skipped: Mapping[int, Collection[datetime]]
    pauses: Sequence[Pause] = ()

    @property
    def busiest(self) -> int:
        """The largest count of an hour."""
        return max(self.counts.values(), default=0)

    @property
    def hourly(self) -> bool:
        """Whether the period is short enough to be shown hour by hour."""
        return len(self.days) <= MAX_HOURLY_DAYS

    def fires(self, count: int) -> list[Fire]:
        """The first due times of all schedules together, in order."""
        each = (_fires(one.schedule, self) for one in self.rehearsed)
        merged = heapq.merge(*each, key=lambda fire: (fire.due.utc, fire.schedule.name))
        return list(islice(merged, count))

    def of_day(self, day: date) -> int:
        """The number of fires on a day."""
        return sum(self.counts[day, hour] for hour in range(24))


def span(start: str, end: str, zone: ZoneInfo, now: datetime) -> tuple[datetime, datetime]:
    """The requested period in whole minutes, by default a week from now.

    Raises Invalid at `from` or `to`.
    """
    try:
        first = _next_minute(now) if is_empty(start) else fields.moment(start, zone)
    except fields.FieldError as error:
        raise Invalid({"from": str(error)}) from error
    try:
        last = first + timedelta(days=7) if is_empty(end) else fields.moment(end, zone)
    except fields.FieldError as error:
        raise Invalid({"to": str(error)}) from error
    if not first < last <= first + MAX_PERIOD:
        raise Invalid({"to": f"Choose an end after the start, at most {MAX_PERIOD.days} days later."})
    return _next_minute(first), last.replace(second=0, microsecond=0)


def _next_minute(moment: datetime) -> datetime:
    whole = moment.replace(second=0, microsecond=0)
    return whole if whole == moment else whole + timedelta(minutes=1)


def rehearse(
    filters: Filters, period: tuple[datetime, datetime], zone: ZoneInfo, now: datetime, ids: Sequence[int] = ()
) -> Rehearsal:
    """What the enabled schedules that match would fire within a period, whose end is exclusive.

    With `ids`, the schedules with these ids instead of those that match.
    """
    start, end = period
    wanted = list(ids) or listing.matching_ids(filters, now, MAX_SCHEDULES + 1)
    chosen = stored.find_many(db.session, wanted[:MAX_SCHEDULES])
    schedules = [schedule for schedule in chosen if comes_due(schedule)]
    skipped = skipped_ahead([schedule.id for schedule in schedules], now)
    pauses = unsettled(db.session)
    counting = _Counting(period, zone, skipped, pauses)
    for schedule in schedules:
        counting.add(schedule)
    rehearsed = sorted(counting.rehearsed, key=lambda one: (not one.notes, -one.fires, one.schedule.name))
    days = _days(start, end, zone)
    return Rehearsal(
        start, end, rehearsed, sum(one.fires for one in rehearsed), days, counting.counts, counting.cut,
        len(wanted) > MAX_SCHEDULES, skipped, pauses,
    )  # fmt: skip


def quiet_spans(schedule: Stored, pauses: Sequence[Pause]) -> list[Quiet]:
    """The spans in which a schedule does not run: its own pause, and those of `pauses`, which are global or by tag."""
    row = schedule.row
    spans = [Quiet(pause.starts_at, pause.ends_at, pause.text) for pause in pauses if pause.concerns(schedule.tags)]
    if schedule.paused:
        own = Quiet(row.paused_at, row.paused_until, pause_text(row.pause_reason or "", row.paused_by or ""))
        return [own, *spans]
    return spans


def held_back(due: datetime, skipped: Collection[datetime], quiet: Sequence[Quiet]) -> str:
    """Why nothing runs at a due time; else empty."""
    if due in skipped:
        return "skipped in advance"
    return next((span.reason for span in quiet if span.has(due)), "")


class _Counting:
    """Counts the due times of one schedule after the other, up to MAX_COUNTED."""

    def __init__(
        self,
        span: tuple[datetime, datetime],
        zone: ZoneInfo,
        skipped: Mapping[int, Collection[datetime]],
        pauses: Sequence[Pause],
    ) -> None:
        start, end = self.start, self.end = span
        self.zone, self.skipped, self.pauses = zone, skipped, pauses
        self.rehearsed: list[RehearsedSchedule] = []
        self.counts: Counter[tuple[date, int]] = Counter()
        self.cut: list[str] = []
        self._first = int(start.timestamp())
        self._minutes = int(end.timestamp() - self._first) // 60
        self._counted = 0
        self._hours: dict[int, tuple[date, int]] = {}
        self._changes: dict[Recurrence, list[DueTime]] = {}

    def add(self, schedule: Stored) -> None:
        recurrence = schedule.recurrence
        if recurrence is None:
            return
        if self._counted > MAX_COUNTED:
            self.cut.append(schedule.name)
            return
        found = by_minute(recurrence, self._first, self._minutes, schedule.runs)
        self._counted += len(found.minutes)
        if not found.minutes:
            return
        quiet, skipped = quiet_spans(schedule, self.pauses), self.skipped.get(schedule.id, ())
        held = self._count(found, quiet, skipped)
        first, last = (self._moment(found.minutes[end]) for end in (0, -1))
        noted = self._with_notes(schedule, recurrence, quiet)
        self.rehearsed.append(RehearsedSchedule(schedule, found.total - held, held, first, last, noted))

    def _count(self, found: ByMinute, quiet: Sequence[Quiet], skipped: Collection[datetime]) -> int:
        """Add the runs to the counts of the hours; gives how many due times are held back."""
        held = 0
        silent = Counter(int(due.timestamp() - self._first) // 60 for due in skipped)
        for minute, count in found.pairs():
            kept = count
            if quiet and held_back(self._moment(minute), (), quiet):
                kept = 0
            else:
                kept -= silent[minute]
            held += count - kept
            self.counts[self._hour(minute)] += kept
        return held

    def _moment(self, minute: int) -> datetime:
        return datetime.fromtimestamp(self._first + 60 * minute, UTC)

    def _hour(self, minute: int) -> tuple[date, int]:
        # Cached by quarter of an hour: clock changes occur only at whole quarters.
        quarter = (self._first + 60 * minute) // 900
        if quarter not in self._hours:
            local = datetime.fromtimestamp(900 * quarter, self.zone)
            self._hours[quarter] = (local.date(), local.hour)
        return self._hours[quarter]

    def _with_notes(self, schedule: Stored, recurrence: Recurrence, quiet: Sequence[Quiet]) -> list[Fire]:
        """Due times with a note: those that a clock change affects, skipped ones, and the first one of each pause."""
        skipped = self.skipped.get(schedule.id, ())
        noted = {due.utc: due for due in self._changed(recurrence)}
        for at in skipped:
            if self.start <= at < self.end:
                noted |= {due.utc: due for due in schedule.due_times(at - INSTANT, 1)}
        for span in quiet:
            first = schedule.due_times(max(span.start, self.start) - INSTANT, 1)
            noted |= {due.utc: due for due in first if due.utc < self.end}
        return [Fire(schedule, noted[at], held_back(at, skipped, quiet)) for at in sorted(noted)]

    def _changed(self, recurrence: Recurrence) -> list[DueTime]:
        """The due times of a crontab that a clock change affects, cached for schedules with the same rule."""
        if not isinstance(recurrence.rule, Crontab):
            return []
        key = dataclasses.replace(recurrence, jitter=0.0, seed="")
        if key not in self._changes:
            changes = clock_changes(recurrence.timezone, int(self.start.timestamp()), int(self.end.timestamp()))
            moments = [datetime.fromtimestamp(change, UTC) for change in changes]
            found = [due for moment in moments for due in _around(key, moment) if self.start <= due.utc < self.end]
            self._changes[key] = found
        return self._changes[key]


def _around(recurrence: Recurrence, change: datetime) -> list[DueTime]:
    """The due times with a note near a clock change. The first one after it has the note about skipped times."""
    found: list[DueTime] = []
    unlimited = dataclasses.replace(recurrence, max_runs=None)
    for due in islice(_following(unlimited, change - AROUND_CHANGE, 0), MAX_AROUND_CHANGE):
        if due.note:
            found.append(due)
        if due.utc > change + AROUND_CHANGE:
            break
    return found


def _following(recurrence: Recurrence, after: datetime, done: int) -> Iterator[DueTime]:
    """Yields due times, computed in batches."""
    while found := due_times(recurrence, after, BATCH_SIZE, done):
        yield from found
        after, done = found[-1].utc, done + len(found)


def _fires(schedule: Stored, rehearsal: Rehearsal) -> Iterator[Fire]:
    skipped, quiet = rehearsal.skipped.get(schedule.id, ()), quiet_spans(schedule, rehearsal.pauses)
    if schedule.recurrence is None:
        return
    for due in _following(schedule.recurrence, rehearsal.start - INSTANT, schedule.runs):
        if due.utc >= rehearsal.end:
            return
        yield Fire(schedule, due, held_back(due.utc, skipped, quiet))


def _days(start: datetime, end: datetime, zone: ZoneInfo) -> list[Day]:
    first, last = start.astimezone(zone).date(), (end - INSTANT).astimezone(zone).date()
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    return [Day(day, (day_begins(day + timedelta(days=1), zone) - day_begins(day, zone)) // 60) for day in days]
