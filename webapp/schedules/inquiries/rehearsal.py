"""A rehearsal: what the schedules would fire in a span of dates, computed by what beat computes with."""

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
from webapp.schedule_store.pauses import Pause, told
from webapp.schedule_store.status import comes_due
from webapp.schedule_store.stored import Stored
from webapp.schedules import fields
from webapp.schedules.calendar.grid import Day, day_begins
from webapp.schedules.list import listing
from webapp.schedules.list.listing import Filters
from webapp.web.errors import Invalid

LONGEST = timedelta(days=366)
MOST_SCHEDULES = 500
# Due times that are counted, of all schedules together, and those that are listed or exported one by one.
MOST_COUNTED = 400_000
SHOWN = 50
MOST_EXPORTED = 20_000
# Up to so many days are shown hour by hour, longer spans day by day.
HOURLY = 31
# How many due times are asked for at once, and of one schedule around one change of clocks.
PART, AROUND = 32, 400
NEARBY = timedelta(hours=3)
INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Fire:
    """One due time of one schedule; `held` is why nothing runs then, or empty."""

    schedule: Stored
    due: DueTime
    held: str = ""


@dataclass(frozen=True, slots=True)
class Quiet:
    """A span in which nothing runs, without its end where `end` is None, and why."""

    start: datetime
    end: datetime | None
    reason: str

    def has(self, moment: datetime) -> bool:
        """Whether a moment lies in it."""
        return self.start <= moment and (self.end is None or moment < self.end)


@dataclass(frozen=True, slots=True)
class Line:
    """One schedule: how often it would fire, when first and last, and what is special about single due times."""

    schedule: Stored
    fires: int
    held: int
    first: datetime
    last: datetime
    notes: Sequence[Fire]


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """How often each schedule would fire, and all together in each hour of each day on the zone's clock.

    `cut` names schedules that are not counted because there is too much to count; `left_out` tells that more schedules
    match than are rehearsed.
    """

    start: datetime
    end: datetime
    lines: Sequence[Line]
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
        """Whether it is short enough to be shown hour by hour."""
        return len(self.days) <= HOURLY

    def fires(self, most: int) -> list[Fire]:
        """The first due times of all schedules together, in order."""
        each = (_fires(line.schedule, self) for line in self.lines)
        merged = heapq.merge(*each, key=lambda fire: (fire.due.utc, fire.schedule.name))
        return list(islice(merged, most))

    def of_day(self, day: date) -> int:
        """How many fire on a day."""
        return sum(self.counts[day, hour] for hour in range(24))


def span(start: str, end: str, zone: ZoneInfo, now: datetime) -> tuple[datetime, datetime]:
    """The span that was asked for, in whole minutes: a week from now unless something else is said.

    Raises Invalid at `from` or `to`.
    """

    def moment(value: str) -> datetime:
        return fields.moment(value, zone)

    first = _next_minute(now) if fields.empty(start) else fields.validated("from", moment, start)
    last = first + timedelta(days=7) if fields.empty(end) else fields.validated("to", moment, end)
    if not first < last <= first + LONGEST:
        raise Invalid({"to": f"Choose an end after the start, at most {LONGEST.days} days later."})
    return _next_minute(first), last.replace(second=0, microsecond=0)


def _next_minute(moment: datetime) -> datetime:
    whole = moment.replace(second=0, microsecond=0)
    return whole if whole == moment else whole + timedelta(minutes=1)


def rehearse(
    filters: Filters, asked: tuple[datetime, datetime], zone: ZoneInfo, now: datetime, ids: Sequence[int] = ()
) -> Rehearsal:
    """What the enabled schedules that match would fire from the first moment to before the second.

    `ids` are the numbers of some schedules, instead of all that match.
    """
    start, end = asked
    wanted = list(ids) or listing.matching_ids(filters, now, MOST_SCHEDULES + 1)
    chosen = stored.find_many(db.session, wanted[:MOST_SCHEDULES])
    schedules = [schedule for schedule in chosen if comes_due(schedule)]
    skipped = skipped_ahead([schedule.id for schedule in schedules], now)
    pauses = unsettled(db.session)
    counting = _Counting(asked, zone, skipped, pauses)
    for schedule in schedules:
        counting.add(schedule)
    lines = sorted(counting.lines, key=lambda line: (not line.notes, -line.fires, line.schedule.name))
    days = _days(start, end, zone)
    return Rehearsal(
        start, end, lines, sum(line.fires for line in lines), days, counting.counts, counting.cut,
        len(wanted) > MOST_SCHEDULES, skipped, pauses,
    )  # fmt: skip


def quiet_spans(schedule: Stored, pauses: Sequence[Pause]) -> list[Quiet]:
    """The spans in which a schedule comes due and nothing runs: the one place for it. `pauses` are the wide ones."""
    row = schedule.row
    spans = [Quiet(pause.starts_at, pause.ends_at, pause.told) for pause in pauses if pause.concerns(schedule.tags)]
    if schedule.paused:
        own = Quiet(row.paused_at, row.paused_until, told(row.pause_reason or "", row.paused_by or ""))
        return [own, *spans]
    return spans


def held_back(due: datetime, skipped: Collection[datetime], quiet: Sequence[Quiet]) -> str:
    """Why nothing runs at a due time, or an empty text."""
    if due in skipped:
        return "skipped in advance"
    return next((span.reason for span in quiet if span.has(due)), "")


class _Counting:
    """Counts one schedule after the other, as long as there is not too much of it."""

    def __init__(
        self,
        span: tuple[datetime, datetime],
        zone: ZoneInfo,
        skipped: Mapping[int, Collection[datetime]],
        pauses: Sequence[Pause],
    ) -> None:
        start, end = self.start, self.end = span
        self.zone, self.skipped, self.pauses = zone, skipped, pauses
        self.lines: list[Line] = []
        self.counts: Counter[tuple[date, int]] = Counter()
        self.cut: list[str] = []
        self._first = int(start.timestamp())
        self._minutes = int(end.timestamp() - self._first) // 60
        self._counted = 0
        self._hours: dict[int, tuple[date, int]] = {}
        self._noted: dict[Recurrence, list[DueTime]] = {}

    def add(self, schedule: Stored) -> None:
        recurrence = schedule.recurrence
        if recurrence is None:
            return
        if self._counted > MOST_COUNTED:
            self.cut.append(schedule.name)
            return
        found = by_minute(recurrence, self._first, self._minutes, schedule.runs)
        self._counted += len(found.minutes)
        if not found.minutes:
            return
        quiet, skipped = quiet_spans(schedule, self.pauses), self.skipped.get(schedule.id, ())
        held = self._count(found, quiet, skipped)
        first, last = (self._moment(found.minutes[end]) for end in (0, -1))
        special = self._special(schedule, recurrence, quiet)
        self.lines.append(Line(schedule, found.total - held, held, first, last, special))

    def _count(self, found: ByMinute, quiet: Sequence[Quiet], skipped: Collection[datetime]) -> int:
        """Add what runs to the hours; gives how many due times are held back."""
        held = 0
        silent = Counter(self._minute_of(due) for due in skipped)
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

    def _minute_of(self, due: datetime) -> int:
        return int(due.timestamp() - self._first) // 60

    def _hour(self, minute: int) -> tuple[date, int]:
        # Clocks jump at whole quarters of an hour, and there are fewer of those than of minutes.
        quarter = (self._first + 60 * minute) // 900
        if quarter not in self._hours:
            local = datetime.fromtimestamp(900 * quarter, self.zone)
            self._hours[quarter] = (local.date(), local.hour)
        return self._hours[quarter]

    def _special(self, schedule: Stored, recurrence: Recurrence, quiet: Sequence[Quiet]) -> list[Fire]:
        """Due times that daylight saving touches or that are skipped, and the first one of a pause."""
        skipped = self.skipped.get(schedule.id, ())
        special = {due.utc: due for due in self._changed(recurrence)}
        for at in skipped:
            if self.start <= at < self.end:
                special |= {due.utc: due for due in schedule.due_times(at - INSTANT, 1)}
        for span in quiet:
            first = schedule.due_times(max(span.start, self.start) - INSTANT, 1)
            special |= {due.utc: due for due in first if due.utc < self.end}
        return [Fire(schedule, special[at], held_back(at, skipped, quiet)) for at in sorted(special)]

    def _changed(self, recurrence: Recurrence) -> list[DueTime]:
        """What daylight saving does to a crontab in the span. The same for all with this rule."""
        if not isinstance(recurrence.rule, Crontab):
            return []
        key = dataclasses.replace(recurrence, jitter=0.0, seed="")
        if key not in self._noted:
            changes = clock_changes(recurrence.timezone, int(self.start.timestamp()), int(self.end.timestamp()))
            moments = [datetime.fromtimestamp(change, UTC) for change in changes]
            found = [due for moment in moments for due in _around(key, moment) if self.start <= due.utc < self.end]
            self._noted[key] = found
        return self._noted[key]


def _around(recurrence: Recurrence, change: datetime) -> list[DueTime]:
    """The noted due times near a change of clocks; with what it skipped, told by the first one after it."""
    found: list[DueTime] = []
    unlimited = dataclasses.replace(recurrence, max_runs=None)
    for due in islice(_following(unlimited, change - NEARBY, 0), AROUND):
        if due.note:
            found.append(due)
        if due.utc > change + NEARBY:
            break
    return found


def _following(recurrence: Recurrence, after: datetime, done: int) -> Iterator[DueTime]:
    """Due times one after the other, asked for in parts."""
    while found := due_times(recurrence, after, PART, done):
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
