"""The calendar: what the coming days ask of the workers, hour by hour. Kept while nothing that it rests on changes."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from flask import current_app

from webapp.extensions import db
from webapp.messaging import broker
from webapp.recurrence.zone_search import find_zone
from webapp.run_store import sending
from webapp.run_store.message import Destination
from webapp.schedule_store import pause_rows
from webapp.schedule_store.pauses import spans
from webapp.schedules.calendar import load, roster, run_times
from webapp.schedules.calendar.grid import Grid, Hour, grid
from webapp.schedules.calendar.load import Load
from webapp.schedules.calendar.roster import Group, Roster
from webapp.schedules.calendar.run_times import UNKNOWN, Usual
from webapp.schedules.list import listing
from webapp.schedules.list.listing import Filters
from webapp.web.errors import Invalid
from webapp.workers.capacity import pools

DAYS = 7
FARTHEST = timedelta(days=366)
# Up to so many schedules are reckoned with their own run times; of more, with those of their tasks.
FEW = 300
# How long run times are kept, in seconds: to look for them anew each time would take longer than the rest.
KEPT = 60.0
LOADS_KEPT = 6
NAMED_TASKS = 200


@dataclass(frozen=True, slots=True)
class Times:
    """How long runs usually take: of each task, and of single schedules where they are few."""

    tasks: Mapping[str, Usual]
    schedules: Mapping[int, Usual]
    each: bool

    def of(self, schedule_id: int, task: str) -> Usual:
        """Of one schedule."""
        return self.schedules.get(schedule_id) or self.tasks.get(task, UNKNOWN)

    def seconds(self, group: Group, ids: Sequence[int]) -> Sequence[float]:
        """The medians of the schedules of a group, or one for all of them."""
        if not self.each:
            return [self.tasks.get(group.task, UNKNOWN).median]
        return [self.of(schedule_id, group.task).median for schedule_id in ids]


@dataclass(frozen=True, slots=True)
class Reckoned:
    """A load with what it was made of. `load` is that of the schedules that match, `whole` that of all.

    `matched` is how many match; None when all were asked for, and both loads are the same.
    """

    load: Load
    whole: Load
    times: Times
    roster: Roster
    queues: Mapping[Destination, str]
    matched: int | None = None

    def queue_of(self, group: Group) -> str:
        """Where the messages of a group of schedules go."""
        return self.queues[group.aim]

    @property
    def unknown(self) -> Sequence[str]:
        """The tasks of which no run has ended yet."""
        found = {coming.group.task for coming in self.load.coming}
        return sorted(task for task in found if not self.times.tasks.get(task, UNKNOWN).runs)


class _Kept:
    """What one process keeps between two looks at the calendar."""

    def __init__(self) -> None:
        self.times: tuple[int, float, Times] | None = None
        self.loads: dict[Any, Load] = {}

    def keep(self, key: Any, found: Load) -> None:
        """Keep a load, and forget the oldest of too many."""
        while len(self.loads) >= LOADS_KEPT:
            del self.loads[next(iter(self.loads))]
        self.loads[key] = found


def first_day(text: str, zone: ZoneInfo, now: datetime) -> date:
    """The day that was asked for, today if none was. Raises Invalid at `from`."""
    today = now.astimezone(zone).date()
    if not text:
        return today
    try:
        first = date.fromisoformat(text)
    except ValueError as error:
        raise Invalid({"from": "Enter a date such as 2027-10-31."}) from error
    if not today <= first <= today + FARTHEST:
        raise Invalid({"from": "Choose a date from today to one year ahead. Past runs are in the list of runs."})
    return first


def chosen_zone(text: str, otherwise: ZoneInfo) -> ZoneInfo:
    """The zone that was asked for. Raises Invalid at `zone`."""
    if not text:
        return otherwise
    name = find_zone(text)
    if name is None:
        raise Invalid({"zone": "Enter a time zone such as Asia/Kathmandu or UTC."})
    return ZoneInfo(name)


def reckon(first: int, minutes: int, filters: Filters, now: datetime) -> Reckoned:
    """The load of so many minutes from an instant on (epoch seconds, a whole minute), and that of those that match."""
    members = roster.current(now)
    kept: _Kept = current_app.extensions.setdefault("schedule_calendar", _Kept())
    times = _times(kept, members, now)
    queues = {aim: _queue_of(aim) for aim in {group.aim for group in members.groups}}
    slots = pools(queues.values(), now)
    pauses = tuple(pause_rows.unsettled(db.session))
    sizes = tuple((pool.queues, pool.slots) for pool in slots)
    key = (members.generation, first, minutes, _sorted(times), sizes, pauses)

    def loaded(chosen: frozenset[int] | None) -> Load:
        found = kept.loads.get((*key, chosen))
        if found is None:
            groups = members.groups
            if chosen is not None:
                groups = {group: some for group, ids in groups.items() if (some := ids & chosen)}
            found = load.reckon(
                groups,
                (first, minutes),
                slots,
                lambda group: queues[group.aim],
                times.seconds,
                quiet=lambda tags: spans(pauses, tags),
            )
            kept.keep((*key, chosen), found)
        # Who the slots belong to may differ while their number does not.
        for of_pool, pool in zip(found.pools, slots, strict=True):
            of_pool.pool = pool
        return found

    whole = loaded(None)
    if not filters.given():
        return Reckoned(whole, whole, times, members, queues)
    matched = listing.all_matching(filters, now)
    return Reckoned(loaded(matched), whole, times, members, queues, len(matched))


def week(first: date, zone: ZoneInfo, filters: Filters, now: datetime) -> tuple[Grid, Reckoned]:
    """A week of days on a zone's clock."""
    cells = grid(first, DAYS, zone)
    return cells, reckon(cells.start, cells.minutes, filters, now)


def around(hour: Hour, first: date, zone: ZoneInfo, filters: Filters, now: datetime) -> Reckoned:
    """The week from `first` on when the hour lies in it, else the one that begins on the hour's day."""
    if not first <= hour.day < first + timedelta(days=DAYS):
        first = hour.day
    return week(first, zone, filters, now)[1]


def _queue_of(aim: Destination) -> str:
    """The queue whose workers take what goes there, or its place in words where that is not known."""
    try:
        return (sending.led_to(aim) or [aim.place])[0]
    except broker.BrokerAway:
        return aim.place


def _sorted(times: Times) -> tuple[Any, ...]:
    return (*sorted(times.tasks.items(), key=str), *sorted(times.schedules.items(), key=str))


def _times(kept: _Kept, members: Roster, now: datetime) -> Times:
    if kept.times is not None:
        generation, until, times = kept.times
        if generation == members.generation and time.monotonic() < until:
            return times
    tasks = sorted({group.task for group in members.groups})[:NAMED_TASKS]
    each = len(members) <= FEW
    ids = [schedule_id for found in members.groups.values() for schedule_id in found] if each else []
    times = Times(run_times.of_tasks(tasks), run_times.of_schedules(ids, now), each)
    kept.times = (members.generation, time.monotonic() + KEPT, times)
    return times
