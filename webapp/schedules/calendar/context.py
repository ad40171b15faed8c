"""The context of the calendar's templates: cells, spikes, and the schedules of an hour or a minute."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

from webapp.extensions import db
from webapp.schedule_store import stored
from webapp.schedule_store.stored import Stored
from webapp.schedules.calendar import load, moving
from webapp.schedules.calendar.grid import Grid, Hour
from webapp.schedules.calendar.load import Burst, Coming, Load, PoolLoad
from webapp.schedules.calendar.run_times import Usual
from webapp.schedules.calendar.week import DAYS, CalendarLoad, Times
from webapp.workers.capacity import Pool

BURSTS_SHOWN = 10
PAGE = 50
# Levels of load, each with its upper limit as a share of the slots' time.
LEVELS = ((0.25, "quiet"), (0.7, "busy"), (1.0, "full"), (math.inf, "over"))
MAX_TIMES_SHOWN = 6
# Cached views of one load: for several time zones, and as minutes pass.
MAX_CACHED_VIEWS = 8


@dataclass(frozen=True, slots=True)
class Cell:
    """An hour of the calendar: its fires, the load of the fullest pool as a share of the slots' time, its spikes.

    `queue` names that pool if there are several and it is overloaded. An hour that has begun counts from now on.
    """

    hour: Hour
    fires: int
    share: float
    bursts: int
    queue: str
    passed: bool = False

    @property
    def level(self) -> str:
        """The level of the share."""
        return next(word for most, word in LEVELS if self.share < most) if self.fires else "none"

    @property
    def percent(self) -> str:
        """The share in per cent."""
        return share_words(self.share)

    @property
    def at(self) -> str:
        """The beginning of the hour, for URLs."""
        return instant_text(self.hour.start)


@dataclass(frozen=True, slots=True)
class BurstTime:
    """Spikes at one time of day, on one or more days. `own` is how many of all `fires` match the filters."""

    hour: int
    minute: int
    days: Sequence[date]
    fires: int
    own: int
    late: float
    exceeds: bool
    pool: Pool
    at: str
    calmer: int | None


@dataclass(frozen=True, slots=True)
class WeekView:
    """The cells, row by row, None where a day does not have that hour; the worst spikes, and how many there are."""

    cells: Sequence[Sequence[Cell | None]]
    bursts: Sequence[BurstTime]
    burst_count: int


@dataclass(frozen=True, slots=True)
class Firing:
    """A schedule that fires in an hour or minute: how often, when, its usual run time, and a quieter minute for it."""

    schedule: Stored
    fires: int
    times: Sequence[str]
    more: bool
    usual: Usual
    movable: bool
    calmer: int | None


@dataclass(frozen=True, slots=True)
class Firings:
    """One page of firing schedules, with totals over all pages."""

    rows: Sequence[Firing]
    schedules: int
    movable: int
    fires: int
    number: int

    @property
    def pages(self) -> int:
        """The number of pages."""
        return max(1, -(-self.schedules // PAGE))


def share_words(share: float) -> str:
    """A share in per cent, with a no-break space."""
    percent = share * 100
    text = f"{percent:,.0f} %" if percent >= 1 or not percent else "< 1 %"
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def instant_text(instant: int) -> str:
    """Epoch seconds as ISO 8601 text, for URLs."""
    return datetime.fromtimestamp(instant, UTC).isoformat().replace("+00:00", "Z")


def week_view(grid: Grid, loads: CalendarLoad, zone: ZoneInfo, now: datetime) -> WeekView:
    """The view of a week's page, cached in the load that it is made from. Times before `now` are left out.

    Cells count the schedules that match the filters. Spikes are those of all schedules, if one that matches takes part.
    """
    found = loads.load
    ahead = ahead_of(found, now)
    key = (zone.key, grid.start, ahead)
    view = found.views.get(key)
    if not isinstance(view, WeekView):
        by_hour = {hour: _bursts_of(hour, loads, ahead) for row in grid.rows for hour in row.hours if hour is not None}
        cells = [
            [None if hour is None else _cell(hour, found, ahead, by_hour[hour]) for hour in row.hours]
            for row in grid.rows
        ]
        while len(found.views) >= MAX_CACHED_VIEWS:
            del found.views[next(iter(found.views))]
        view = found.views[key] = WeekView(cells, *_burst_times(by_hour, loads, zone))
    return view


def ahead_of(found: Load, now: datetime) -> int:
    """The first minute of a load that has not begun yet."""
    return max(0, found.minute_of(math.ceil(now.timestamp() / 60) * 60))


def _cell(hour: Hour, found: Load, ahead: int, bursts: Sequence[Burst]) -> Cell:
    first, end = max(found.minute_of(hour.start), ahead), found.minute_of(hour.end)
    if first >= end:
        return Cell(hour, 0, 0.0, 0, "", passed=True)
    share, place = max(((_share(pool, first, end), place) for place, pool in enumerate(found.pools)), default=(0.0, 0))
    queue = found.pools[place].pool.queues[0] if share >= 1 and len(found.pools) > 1 else ""
    fires = sum(sum(pool.fires[first:end]) for pool in found.pools)
    return Cell(hour, fires, share, len(bursts), queue)


def _share(pool: PoolLoad, first: int, end: int) -> float:
    """The work that comes due, as a share of what the pool's slots can do in that time."""
    return sum(pool.work[first:end]) / (pool.pool.slots * 60 * (end - first))


def shares(found: Load, first: int, end: int) -> list[tuple[Pool, int, float]]:
    """Each pool with its fires and its share of the slots' time."""
    return [(pool.pool, sum(pool.fires[first:end]), _share(pool, first, end)) for pool in found.pools]


def _bursts_of(hour: Hour, loads: CalendarLoad, ahead: int) -> list[Burst]:
    found = loads.whole
    first, end = max(found.minute_of(hour.start), ahead), found.minute_of(hour.end)
    if first >= end:
        return []
    return [
        burst
        for pool, shown in zip(found.pools, loads.load.pools, strict=True)
        # Most hours have no spike: two passes over arrays rule them out quickly.
        if max(pool.waits[first:end]) >= load.MIN_DELAY_SECONDS or max(pool.fires[first:end]) >= load.MIN_SPIKE_FIRES
        for burst in load.bursts(pool, first, end)
        if shown.fires[burst.minute]
    ]


def _burst_times(
    by_hour: Mapping[Hour, Sequence[Burst]], loads: CalendarLoad, zone: ZoneInfo
) -> tuple[list[BurstTime], int]:
    """The worst spikes, grouped by time of day, and the number of such groups."""
    together: dict[tuple[int, int, Pool], list[tuple[Burst, Hour]]] = {}
    for hour, bursts in by_hour.items():
        for burst in bursts:
            local = datetime.fromtimestamp(loads.whole.first + 60 * burst.minute, zone)
            together.setdefault((local.hour, local.minute, burst.pool), []).append((burst, hour))
    ranked = sorted(together.items(), key=lambda item: max((one.late, one.fires) for one, _ in item[1]), reverse=True)
    return [_burst_time(key, bursts, loads) for key, bursts in ranked[:BURSTS_SHOWN]], len(ranked)


def _burst_time(key: tuple[int, int, Pool], bursts: Sequence[tuple[Burst, Hour]], loads: CalendarLoad) -> BurstTime:
    hour, minute, pool = key
    worst = max((burst for burst, _ in bursts), key=lambda burst: (burst.late, burst.fires))
    found = loads.whole
    of_pool, shown = next(pair for pair in zip(found.pools, loads.load.pools, strict=True) if pair[0].pool == pool)
    seconds = of_pool.work[worst.minute] / worst.fires
    calmer = load.calmest(of_pool, [burst.minute - minute for burst, _ in bursts], math.ceil(seconds / 60), [minute])
    days = sorted({one.day for _, one in bursts})
    return BurstTime(
        hour, minute, days, worst.fires, shown.fires[worst.minute], worst.late, worst.exceeds, pool,
        instant_text(found.first + 60 * worst.minute), calmer,
    )  # fmt: skip


def firings(loads: CalendarLoad, span: tuple[int, int], zone: ZoneInfo, number: int) -> Firings:
    """A page of the schedules that come due within a span of minutes of the load, those with most work first."""
    found = coming_within(loads.load, *span)
    shown = list(islice(_by_work(found, loads.times), (number - 1) * PAGE, number * PAGE))
    schedules = {
        one.id: one for one in stored.find_many(db.session, [schedule_id for schedule_id, _coming, _count in shown])
    }
    advice = moving.Advice(loads)
    rows = [
        Firing(
            (schedule := schedules[schedule_id]),
            count,
            *_times(coming, loads.load, span, zone),
            loads.times.of(schedule.id, schedule.row.task),
            is_movable(coming),
            advice.calmer(coming, schedule),
        )
        for schedule_id, coming, count in shown
        if schedule_id in schedules
    ]
    movable = sum(len(coming.ids) for coming, _count in found if is_movable(coming))
    fires = sum(count * len(coming.ids) for coming, count in found)
    return Firings(rows, sum(len(coming.ids) for coming, _count in found), movable, fires, number)


def _by_work(found: Sequence[tuple[Coming, int]], times: Times) -> Iterator[tuple[int, Coming, int]]:
    """The ids of schedules with what they are part of, those with most work first."""
    if times.each:
        each = [(schedule_id, coming, count) for coming, count in found for schedule_id in coming.ids]
        each.sort(key=lambda one: (-one[2] * times.of(one[0], one[1].group.task).median, one[0]))
        yield from each
        return
    # Many schedules: those that come due together have the same run time, so only the groups are sorted.
    works = sorted(found, key=lambda one: (-one[1] * times.seconds(one[0].group, ())[0], one[0].ids[0]))
    for coming, count in works:
        yield from ((schedule_id, coming, count) for schedule_id in coming.ids)


def is_movable(coming: Coming) -> bool:
    """Whether these schedules are crontabs with one fixed minute."""
    return moving.fixed_minute(coming.group.when.recurrence.rule) is not None


def coming_within(found: Load, first: int, end: int) -> list[tuple[Coming, int]]:
    """The schedules that come due within a span of minutes, each with how often. Jitter may make them fire later."""
    counted = ((coming, coming.within(first, end)) for coming in found.coming)
    return [(coming, count) for coming, count in counted if count]


def _times(coming: Coming, found: Load, span: tuple[int, int], zone: ZoneInfo) -> tuple[list[str], bool]:
    """The first due times in a time zone, and whether there are more."""
    times = [found.first + 60 * minute for minute in coming.due.minutes if span[0] <= minute < span[1]]
    shown = [f"{datetime.fromtimestamp(instant, zone):%H:%M}" for instant in times[:MAX_TIMES_SHOWN]]
    return shown, len(times) > MAX_TIMES_SHOWN


def day_words(days: Sequence[date]) -> str:
    """Days of a week in words: "every day", "Mon 23 Nov", "4 of 7 days"."""
    if len(days) == DAYS:
        return "every day"
    if len(days) <= 2:
        return ", ".join(f"{day:%a %d %b}" for day in days)
    if all(later - earlier == timedelta(days=1) for earlier, later in pairwise(days)):
        return f"{days[0]:%a %d %b} to {days[-1]:%a %d %b}"
    return f"{len(days)} of {DAYS} days"
