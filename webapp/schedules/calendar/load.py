"""What the schedules of some days would make their workers do, minute by minute. Pure: no clock, no database.

What is reckoned with, and said on the page:

- a fire takes as long as its runs usually do (the median);
- a pool works off what waits at once, with all of its slots: what came in a minute and is not done by its end waits;
- a jitter spreads the fires of schedules with the same rule evenly.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise, repeat

from webapp.recurrence import ByMinute, by_minute
from webapp.schedules.calendar.roster import Group, When
from webapp.workers.capacity import Pool

# Steps of reckoning for one page; what exceeds it is left out, and the page says how many schedules that are.
MOST_STEPS = 1_000_000
# A burst is worth telling when the last of it begins so many seconds late,
WORTH_TELLING = 5.0
# or when so many fire at once, and so many times the usual number of a minute of that hour.
MANY, MANY_TIMES = 10, 3.0
# A run does not keep its slot for longer than this in our reckoning, in minutes.
LONGEST_RUN = 24 * 60
# Nor does one look for longer than this at what else runs meanwhile, when a calm minute is looked for.
LONGEST_MET = 60

SecondsOf = Callable[[Group, Sequence[int]], Sequence[float]]
"""How many seconds the runs of each schedule of a group usually take, or one number for all of them."""

Spans = tuple[tuple[float, float], ...]
"""From when to before when, in epoch seconds."""

Quiet = Callable[[frozenset[str]], Iterable[tuple[float, float]]]


@dataclass(slots=True)
class PoolLoad:
    """One pool, minute by minute: how many fire, the seconds of work that comes, how many slots would be busy."""

    pool: Pool
    fires: array[int]
    work: array[float]
    changes: array[float]
    busy: array[float] = field(default_factory=lambda: array("d"))
    waits: array[float] = field(default_factory=lambda: array("d"))

    @classmethod
    def empty(cls, pool: Pool, minutes: int) -> PoolLoad:
        """Without any fire."""
        nothing = bytes(8 * minutes)
        return cls(pool, array("q", nothing), array("d", nothing), array("d", nothing))

    def add(self, minute: int, count: int, seconds: float) -> None:
        """So many fires in a minute, each with so many seconds of work."""
        self.fires[minute] += count
        self.work[minute] += count * seconds
        whole, rest = divmod(seconds, 60.0)
        ends = minute + min(int(whole), LONGEST_RUN)
        size = len(self.changes)
        # Full slots until `ends`, a part of one in the last minute: as changes, summed up when all is there.
        self.changes[minute] += count
        if ends < size:
            self.changes[ends] -= count * (1 - rest / 60)
        if ends + 1 < size:
            self.changes[ends + 1] -= count * rest / 60

    def finish(self) -> None:
        """Sum up, and let those wait for whom there is no slot."""
        self.busy = array("d", accumulate(self.changes))
        waiting = 0.0
        slots = self.pool.slots
        for count, work in zip(self.fires, self.work, strict=True):
            # First what waits already, then, slot by slot, those before the last of this minute.
            self.waits.append(waiting / slots + (count - 1) // slots * work / count if count else 0.0)
            waiting = max(0.0, waiting + work - 60.0 * slots)


@dataclass(frozen=True, slots=True)
class Coming:
    """Schedules that come due together: the minutes in which they do.

    `fires` has how many of them fire how many minutes later (their jitter), and take how many seconds.
    """

    group: Group
    ids: Sequence[int]
    due: ByMinute
    fires: Mapping[tuple[int, float], int]

    def within(self, first: int, end: int) -> int:
        """How often each comes due from minute `first` to before `end`, its jitter left aside."""
        return sum(count for minute, count in self.due.pairs() if first <= minute < end)


@dataclass(slots=True)
class Load:
    """So many minutes from `first` (epoch seconds) on; `left_out` schedules are not in it.

    `views` is for whoever makes something of it and wants to keep that as long as the load itself.
    """

    first: int
    minutes: int
    pools: Sequence[PoolLoad]
    coming: Sequence[Coming] = ()
    left_out: int = 0
    views: dict[object, object] = field(default_factory=dict)

    def minute_of(self, instant: int) -> int:
        """Which minute of it an instant lies in."""
        return (instant - self.first) // 60


@dataclass(frozen=True, slots=True)
class Burst:
    """A minute in which many fire: how many, in which pool, and how late the last of them would begin, in seconds."""

    minute: int
    fires: int
    pool: Pool
    late: float

    @property
    def exceeds(self) -> bool:
        """Whether more fire than there are slots, noticeably."""
        return self.late >= WORTH_TELLING


def reckon(
    groups: Mapping[Group, Iterable[int]],
    span: tuple[int, int],
    pools: Sequence[Pool],
    queue_of: Callable[[Group], str],
    seconds_of: SecondsOf,
    *,
    quiet: Quiet = lambda _tags: (),
) -> Load:
    """The load of a span (its first instant and its minutes), those whens first that most schedules share.

    `quiet` tells during which spans pauses of everything or of tags keep schedules with these tags from firing.
    """
    first, minutes = span
    loads = [PoolLoad.empty(pool, minutes) for pool in pools]
    by_queue = {queue: load for load in loads for queue in load.pool.queues}
    dues: dict[tuple[When, Spans], ByMinute] = {}
    coming: list[Coming] = []
    steps = left_out = 0
    for group, members in sorted(groups.items(), key=lambda item: -len(item[1])):  # type: ignore[arg-type]  # a set
        ids = sorted(members)
        if steps > MOST_STEPS:
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
    """The jitter as far as it matters here: at most as long as the shortest time between two due times."""
    jitter = when.recurrence.jitter
    if jitter <= 60:
        return jitter
    if due.counts is not None:
        return 0.0
    gaps = (later - earlier for earlier, later in pairwise(due.minutes))
    return min(jitter, 60.0 * min(gaps, default=jitter))


def _fires(jitter: float, schedules: int, seconds: Sequence[float]) -> Mapping[tuple[int, float], int]:
    """How many of the schedules fire after how many minutes and take how many seconds."""
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
    """The minutes from `first` to before `end`, one hour at most, in which too many or very many fire at once."""
    mean = sum(load.fires[first:end]) / max(1, end - first)
    for minute in range(first, end):
        count, late = load.fires[minute], load.waits[minute]
        many = count >= MANY and count >= MANY_TIMES * mean
        if many or (late >= WORTH_TELLING and count > load.pool.slots):
            yield Burst(minute, count, load.pool, late)


def calmest(load: PoolLoad, hours: Sequence[int], minutes: int, besides: Iterable[int] = ()) -> int | None:
    """The minute of the hour, 0 to 59, at which a run of so many minutes meets the fewest others.

    `hours` are the minutes of the load at which the hours begin. Of equal ones the one farthest from any other fire,
    then the earliest. None when there is no other minute.
    """
    found = rank(load, hours, minutes, besides)
    return None if found is None else found[-1]


def rank(
    load: PoolLoad, hours: Sequence[int], minutes: int, besides: Iterable[int] = ()
) -> tuple[float, int, int, int] | None:
    """The calmest minute as `calmest` finds it, last in a tuple that is the smaller the calmer its hours are.

    Before it: what a run meets there, all that fires in these hours, and how near the next fire is, negative.
    """
    taken = set(besides)
    end = len(load.busy)
    inside = [hour for hour in hours if 0 <= hour < end]
    candidates = [minute for minute in range(60) if minute not in taken]
    if not hours or not candidates:
        return None
    fires, met = [0] * 60, [0.0] * 60
    for hour in inside:
        # Up to each minute, so that what a run meets is one difference.
        until = [0.0, *accumulate(load.busy[hour : hour + 60 + LONGEST_MET])]
        last = len(until) - 1
        for minute, count in enumerate(load.fires[hour : hour + 60]):
            fires[minute] += count
            met[minute] += until[min(minute + min(max(1, minutes), LONGEST_MET), last)] - until[minute]
    meets = [round(met[minute], 3) + fires[minute] for minute in range(60)]
    least = min(meets[minute] for minute in candidates)
    occupied = [minute for minute in range(60) if fires[minute] or minute in taken]
    near, best = min((_nearness(minute, occupied), minute) for minute in candidates if meets[minute] == least)
    return least, sum(fires), near, best


def _nearness(minute: int, occupied: Sequence[int]) -> int:
    """How near the next of these minutes of the hour is: the greatest is 0, the smallest -30."""
    return -min((min(abs(minute - other), 60 - abs(minute - other)) for other in occupied), default=30)
