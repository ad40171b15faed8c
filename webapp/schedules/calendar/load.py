"""The expected load of workers by schedules over some days, minute by minute. Pure: no clock, no database.

The assumptions, which the page states:

- a run takes the median run time of its schedule or task;
- a pool works on waiting runs with all of its slots; work that is not done at the end of a minute waits;
- jitter spreads the fires of schedules with the same rule evenly.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise, repeat

from webapp.recurrence import ByMinute, by_minute
from webapp.schedules.calendar.due_index import Group, When
from webapp.workers.capacity import Pool

# The limit of work for one page. Further schedules are left out, and the page shows how many.
MAX_STEPS = 1_000_000
# A minute is a spike if its last run is expected to start at least this late,
MIN_DELAY_SECONDS = 5.0
# or if at least so many fire in it, and so many times the mean of that hour.
MIN_SPIKE_FIRES, MIN_SPIKE_RATIO = 10, 3.0
# Longer runs are counted as if they took this long.
MAX_RUN_MINUTES = 24 * 60
# The search for a quiet minute looks at no more than this much of a run.
MAX_OVERLAP_MINUTES = 60

SecondsOf = Callable[[Group, Sequence[int]], Sequence[float]]
"""The usual run time in seconds of each schedule of a group, or one number for all of them."""

Spans = tuple[tuple[float, float], ...]
"""Pairs of beginning and end (exclusive), in epoch seconds."""

Quiet = Callable[[frozenset[str]], Iterable[tuple[float, float]]]


@dataclass(slots=True)
class PoolLoad:
    """The load of one pool, minute by minute: fires, seconds of new work, busy slots, and the delay of the last run."""

    pool: Pool
    fires: array[int]
    work: array[float]
    changes: array[float]
    busy: array[float] = field(default_factory=lambda: array("d"))
    waits: array[float] = field(default_factory=lambda: array("d"))

    @classmethod
    def empty(cls, pool: Pool, minutes: int) -> PoolLoad:
        """A pool without any load."""
        nothing = bytes(8 * minutes)
        return cls(pool, array("q", nothing), array("d", nothing), array("d", nothing))

    def add(self, minute: int, count: int, seconds: float) -> None:
        """Add `count` fires in a minute, each with `seconds` of work."""
        self.fires[minute] += count
        self.work[minute] += count * seconds
        whole, rest = divmod(seconds, 60.0)
        ends = minute + min(int(whole), MAX_RUN_MINUTES)
        size = len(self.changes)
        # Whole slots until `ends`, and a part of one in the last minute; stored as changes, which `finish` adds up.
        self.changes[minute] += count
        if ends < size:
            self.changes[ends] -= count * (1 - rest / 60)
        if ends + 1 < size:
            self.changes[ends + 1] -= count * rest / 60

    def finish(self) -> None:
        """Compute busy slots and delays once all fires are added."""
        self.busy = array("d", accumulate(self.changes))
        waiting = 0.0
        slots = self.pool.slots
        for count, work in zip(self.fires, self.work, strict=True):
            # The work that is waiting already, then the runs before the last one of this minute.
            self.waits.append(waiting / slots + (count - 1) // slots * work / count if count else 0.0)
            waiting = max(0.0, waiting + work - 60.0 * slots)


@dataclass(frozen=True, slots=True)
class Coming:
    """Schedules that come due together, and the minutes in which they do.

    `fires` maps (minutes of jitter, run time in seconds) to the number of schedules.
    """

    group: Group
    ids: Sequence[int]
    due: ByMinute
    fires: Mapping[tuple[int, float], int]

    def within(self, first: int, end: int) -> int:
        """How often each comes due from minute `first` to before `end`, without jitter."""
        return sum(count for minute, count in self.due.pairs() if first <= minute < end)


@dataclass(slots=True)
class Load:
    """The load of `minutes` from `first` (epoch seconds) on, without `left_out` schedules.

    `views` caches what is made from it.
    """

    first: int
    minutes: int
    pools: Sequence[PoolLoad]
    coming: Sequence[Coming] = ()
    left_out: int = 0
    views: dict[object, object] = field(default_factory=dict)

    def minute_of(self, instant: int) -> int:
        """The minute of the load in which an instant lies."""
        return (instant - self.first) // 60


@dataclass(frozen=True, slots=True)
class Burst:
    """A spike: a minute in which many fire, with its pool and the expected delay of the last run in seconds."""

    minute: int
    fires: int
    pool: Pool
    late: float

    @property
    def exceeds(self) -> bool:
        """Whether the last run would be noticeably late."""
        return self.late >= MIN_DELAY_SECONDS


def compute_load(
    groups: Mapping[Group, Iterable[int]],
    span: tuple[int, int],
    pools: Sequence[Pool],
    queue_of: Callable[[Group], str],
    seconds_of: SecondsOf,
    *,
    quiet: Quiet = lambda _tags: (),
) -> Load:
    """The load of a span (its first instant and its minutes). Groups with most schedules come first.

    `quiet` gives the spans in which global and tag pauses hold schedules with certain tags.
    """
    first, minutes = span
    loads = [PoolLoad.empty(pool, minutes) for pool in pools]
    by_queue = {queue: load for load in loads for queue in load.pool.queues}
    dues: dict[tuple[When, Spans], ByMinute] = {}
    coming: list[Coming] = []
    steps = left_out = 0
    for group, members in sorted(groups.items(), key=lambda item: -len(item[1])):  # type: ignore[arg-type]  # a set
        ids = sorted(members)
        if steps > MAX_STEPS:
            left_out += len(ids)
            continue
        spans = tuple(quiet(group.tags))
        due = dues.get((group.when, spans))
        if due is None:
            due = dues[group.when, spans] = _due(group.when, spans, first, minutes)
        if not due.minutes:
            continue
        found = Coming(group, ids, due, _fires(_jitter(group.when, due), len(ids), seconds_of(group, ids)))
        coming.append(found)
        steps += len(due.minutes) * len(found.fires)
        _add(by_queue[queue_of(group)], found, minutes)
    for load in loads:
        load.finish()
    return Load(first, minutes, loads, coming, left_out)


def _due(when: When, spans: Spans, first: int, minutes: int) -> ByMinute:
    due = by_minute(when.recurrence, first, minutes, when.done)
    if when.paused_from is None and not spans:
        return due

    def fires(minute: int) -> bool:
        at = first + 60 * minute
        return not (when.paused(at) or any(begin <= at < end for begin, end in spans))

    kept = [(minute, count) for minute, count in due.pairs() if fires(minute)]
    return ByMinute(array("I", (minute for minute, _count in kept)), array("I", (count for _minute, count in kept)))


def _jitter(when: When, due: ByMinute) -> float:
    """The effective jitter: at most the shortest time between two due times."""
    jitter = when.recurrence.jitter
    if jitter <= 60:
        return jitter
    if due.counts is not None:
        return 0.0
    gaps = (later - earlier for earlier, later in pairwise(due.minutes))
    return min(jitter, 60.0 * min(gaps, default=jitter))


def _fires(jitter: float, schedules: int, seconds: Sequence[float]) -> Mapping[tuple[int, float], int]:
    """The number of schedules by minutes of jitter and run time in seconds."""
    if jitter <= 0 and len(seconds) == 1:
        return {(0, seconds[0]): schedules}
    shifts = (int((place + 0.5) / schedules * jitter // 60) for place in range(schedules))
    return Counter(zip(shifts, seconds if len(seconds) > 1 else repeat(seconds[0]), strict=False))


def _add(load: PoolLoad, coming: Coming, minutes: int) -> None:
    for (shift, seconds), schedules in coming.fires.items():
        for minute, count in coming.due.pairs():
            if minute + shift < minutes:
                load.add(minute + shift, schedules * count, seconds)


def bursts(load: PoolLoad, first: int, end: int) -> Iterator[Burst]:
    """The spikes from minute `first` to before `end`, one hour at most."""
    mean = sum(load.fires[first:end]) / max(1, end - first)
    for minute in range(first, end):
        count, late = load.fires[minute], load.waits[minute]
        many = count >= MIN_SPIKE_FIRES and count >= MIN_SPIKE_RATIO * mean
        if many or (late >= MIN_DELAY_SECONDS and count > load.pool.slots):
            yield Burst(minute, count, load.pool, late)


def calmest(load: PoolLoad, hours: Sequence[int], minutes: int, besides: Iterable[int] = ()) -> int | None:
    """The minute of the hour, 0 to 59, at which a run of `minutes` overlaps with the fewest others.

    `hours` are the minutes of the load at which the hours begin; minutes in `besides` are not considered. Of equal ones
    the one farthest from any other fire, then the earliest. None if there is no other minute.
    """
    found = rank(load, hours, minutes, besides)
    return None if found is None else found[-1]


def rank(
    load: PoolLoad, hours: Sequence[int], minutes: int, besides: Iterable[int] = ()
) -> tuple[float, int, int, int] | None:
    """The minute that `calmest` finds, as the last part of a tuple that sorts quieter hours first.

    The parts before it: the overlap of a run there, all fires in these hours, and the negative distance to the next
    fire.
    """
    taken = set(besides)
    end = len(load.busy)
    inside = [hour for hour in hours if 0 <= hour < end]
    candidates = [minute for minute in range(60) if minute not in taken]
    if not hours or not candidates:
        return None
    fires, met = [0] * 60, [0.0] * 60
    for hour in inside:
        # Sums up to each minute, so that the overlap of a run is one difference.
        until = [0.0, *accumulate(load.busy[hour : hour + 60 + MAX_OVERLAP_MINUTES])]
        last = len(until) - 1
        for minute, count in enumerate(load.fires[hour : hour + 60]):
            fires[minute] += count
            met[minute] += until[min(minute + min(max(1, minutes), MAX_OVERLAP_MINUTES), last)] - until[minute]
    meets = [round(met[minute], 3) + fires[minute] for minute in range(60)]
    least = min(meets[minute] for minute in candidates)
    occupied = [minute for minute in range(60) if fires[minute] or minute in taken]
    near, best = min((_nearness(minute, occupied), minute) for minute in candidates if meets[minute] == least)
    return least, sum(fires), near, best


def _nearness(minute: int, occupied: Sequence[int]) -> int:
    """The negative distance to the next of these minutes of the hour, from -30 to 0."""
    return -min((min(abs(minute - other), 60 - abs(minute - other)) for other in occupied), default=30)
