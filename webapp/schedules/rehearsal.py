"""A rehearsal: what the schedules would fire in a span of dates, computed by what beat computes with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from webapp.errors import Invalid
from webapp.extensions import db
from webapp.scheduler.recurrence import DueTime
from webapp.schedules import fields, listing, stored
from webapp.schedules.listing import Filters
from webapp.schedules.stored import Stored

LONGEST = timedelta(days=31)
MOST_SCHEDULES = 500
# Of one schedule, and shown of all together.
MOST_OF_ONE = 2_000
SHOWN = 1_000
INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Fire:
    """One due time of one schedule."""

    schedule: Stored
    due: DueTime


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """The first fires of the span in order, and how many there are in each hour of each day on the zone's clock.

    `cut` names schedules that come due more often than anyone wants to read; their counts are too low.
    """

    start: datetime
    end: datetime
    fires: Sequence[Fire]
    total: int
    days: Sequence[date]
    counts: Counter[tuple[date, int]]
    cut: Sequence[str]
    left_out: bool

    @property
    def busiest(self) -> int:
        """The largest count of an hour."""
        return max(self.counts.values(), default=0)


def span(start: str, end: str, zone: ZoneInfo, now: datetime) -> tuple[datetime, datetime]:
    """The span that was asked for: a week from now unless something else is said. Raises Invalid at `from` or `to`."""
    try:
        first = now if fields.empty(start) else fields.moment(start, zone)
    except fields.FieldError as error:
        raise Invalid({"from": str(error)}) from error
    try:
        last = first + timedelta(days=7) if fields.empty(end) else fields.moment(end, zone)
    except fields.FieldError as error:
        raise Invalid({"to": str(error)}) from error
    if not first < last <= first + LONGEST:
        raise Invalid({"to": f"It must be after the beginning, at most {LONGEST.days} days."})
    return first, last


def rehearse(filters: Filters, start: datetime, end: datetime, zone: ZoneInfo, now: datetime) -> Rehearsal:
    """What the enabled schedules that match would fire from `start` to before `end`."""
    ids = listing.matching_ids(filters, now, MOST_SCHEDULES + 1)
    chosen = stored.find_many(db.session, ids[:MOST_SCHEDULES])
    schedules = [schedule for schedule in chosen if schedule.row.enabled and not schedule.problem]
    fires: list[Fire] = []
    cut: list[str] = []
    for schedule in schedules:
        due = schedule.due_times(start - INSTANT, MOST_OF_ONE)
        if len(due) == MOST_OF_ONE and due[-1].utc < end:
            cut.append(schedule.name)
        fires += [Fire(schedule, one) for one in due if one.utc < end]
    fires.sort(key=lambda fire: (fire.due.utc, fire.schedule.name))
    local = [fire.due.utc.astimezone(zone) for fire in fires]
    counts = Counter((moment.date(), moment.hour) for moment in local)
    first = start.astimezone(zone).date()
    last = (end - INSTANT).astimezone(zone).date()
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    return Rehearsal(start, end, fires[:SHOWN], len(fires), days, counts, cut, len(ids) > MOST_SCHEDULES)
