"""The expected load of workers in the coming days. Cached until schedules, pauses, pools or run times change."""

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
from webapp.schedules.calendar import due_index, load, run_times
from webapp.schedules.calendar.due_index import DueIndex, Group
from webapp.schedules.calendar.grid import Grid, Hour, grid
from webapp.schedules.calendar.load import Load
from webapp.schedules.calendar.run_times import UNKNOWN, Usual
from webapp.schedules.list import listing
from webapp.schedules.list.listing import Filters
from webapp.web.errors import Invalid
from webapp.workers.capacity import pools

DAYS = 7
FARTHEST = timedelta(days=366)
# Up to this many schedules, each is computed with its own run time; with more, all with those of their tasks.
MAX_WITH_OWN_TIMES = 300
# For how long run times are cached: reading them takes longer than the rest.
TIMES_SECONDS = 60.0
MAX_CACHED_LOADS = 6
MAX_TASKS = 200


@dataclass(frozen=True, slots=True)
class Times:
    """Usual run times of each task, and of single schedules if they are few."""

    tasks: Mapping[str, Usual]
    schedules: Mapping[int, Usual]
    each: bool

    def of(self, schedule_id: int, task: str) -> Usual:
        """The run time of one schedule."""
        return self.schedules.get(schedule_id) or self.tasks.get(task, UNKNOWN)

    def seconds(self, group: Group, ids: Sequence[int]) -> Sequence[float]:
        """The medians of the schedules of a group, or one number for all of them."""
        if not self.each:
            return [self.tasks.get(group.task, UNKNOWN).median]
        return [self.of(schedule_id, group.task).median for schedule_id in ids]


@dataclass(frozen=True, slots=True)
class CalendarLoad:
    """A load and what it is computed from. `load` is that of the schedules that match the filters, `whole` that of all.

    `matched` is the number of matches; None without filters, when both loads are the same.
    """

    load: Load
    whole: Load
    times: Times
    index: DueIndex
    queues: Mapping[Destination, str]
    matched: int | None = None

    def queue_of(self, group: Group) -> str:
        """The queue of the messages of a group of schedules."""
        return self.queues[group.aim]

    @property
    def unknown(self) -> Sequence[str]:
        """The tasks without a run that has ended."""
        found = {coming.group.task for coming in self.load.coming}
        return sorted(task for task in found if not self.times.tasks.get(task, UNKNOWN).runs)


class _Cache:
    """The run times and loads that one process caches."""

    def __init__(self) -> None:
        self.times: tuple[int, float, Times] | None = None
        self.loads: dict[Any, Load] = {}

    def add(self, key: Any, found: Load) -> None:
        """Cache a load, and drop the oldest if there are too many."""
        while len(self.loads) >= MAX_CACHED_LOADS:
            del self.loads[next(iter(self.loads))]
        self.loads[key] = found


def first_day(text: str, zone: ZoneInfo, now: datetime) -> date:
    """The requested first day, by default today. Raises Invalid at `from`."""
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
    """The requested time zone, by default `otherwise`. Raises Invalid at `zone`."""
    if not text:
        return otherwise
    name = find_zone(text)
    if name is None:
        raise Invalid({"zone": "Enter a time zone such as Asia/Kathmandu or UTC."})
    return ZoneInfo(name)


def calendar_load(first: int, minutes: int, filters: Filters, now: datetime) -> CalendarLoad:
    """The load of `minutes` from `first` on (epoch seconds, a whole minute), of all schedules and of the matches."""
    members = due_index.current(now)
    cache: _Cache = current_app.extensions.setdefault("schedule_calendar", _Cache())
    times = _times(cache, members, now)
    queues = {aim: _queue_of(aim) for aim in {group.aim for group in members.groups}}
    slots = pools(queues.values(), now)
    pauses = tuple(pause_rows.unsettled(db.session))
    sizes = tuple((pool.queues, pool.slots) for pool in slots)
    key = (members.generation, first, minutes, _sorted(times), sizes, pauses)

    def loaded(chosen: frozenset[int] | None) -> Load:
        found = cache.loads.get((*key, chosen))
        if found is None:
            groups = members.groups
            if chosen is not None:
                groups = {group: some for group, ids in groups.items() if (some := ids & chosen)}
            found = load.compute_load(
                groups,
                (first, minutes),
                slots,
                lambda group: queues[group.aim],
                times.seconds,
                quiet=lambda tags: spans(pauses, tags),
            )
            cache.add((*key, chosen), found)
        # The workers of a pool may have changed while the number of its slots has not.
        for of_pool, pool in zip(found.pools, slots, strict=True):
            of_pool.pool = pool
        return found

    whole = loaded(None)
    if not filters.given():
        return CalendarLoad(whole, whole, times, members, queues)
    matched = listing.all_matching(filters, now)
    return CalendarLoad(loaded(matched), whole, times, members, queues, len(matched))


def week(first: date, zone: ZoneInfo, filters: Filters, now: datetime) -> tuple[Grid, CalendarLoad]:
    """The grid of a week in a time zone, and its load."""
    cells = grid(first, DAYS, zone)
    return cells, calendar_load(cells.start, cells.minutes, filters, now)


def around(hour: Hour, first: date, zone: ZoneInfo, filters: Filters, now: datetime) -> CalendarLoad:
    """The load of the week from `first` on if the hour lies in it, else of the one that begins on the hour's day."""
    if not first <= hour.day < first + timedelta(days=DAYS):
        first = hour.day
    return week(first, zone, filters, now)[1]


def _queue_of(aim: Destination) -> str:
    """The queue to which a destination leads, or the destination in words if that is unknown."""
    try:
        return (sending.led_to(aim) or [aim.place])[0]
    except broker.BrokerAway:
        return aim.place


def _sorted(times: Times) -> tuple[Any, ...]:
    return (*sorted(times.tasks.items(), key=str), *sorted(times.schedules.items(), key=str))


def _times(cache: _Cache, members: DueIndex, now: datetime) -> Times:
    if cache.times is not None:
        generation, until, times = cache.times
        if generation == members.generation and time.monotonic() < until:
            return times
    tasks = sorted({group.task for group in members.groups})[:MAX_TASKS]
    each = len(members) <= MAX_WITH_OWN_TIMES
    ids = [schedule_id for found in members.groups.values() for schedule_id in found] if each else []
    times = Times(run_times.of_tasks(tasks), run_times.of_schedules(ids, now), each)
    cache.times = (members.generation, time.monotonic() + TIMES_SECONDS, times)
    return times
