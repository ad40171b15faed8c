"""Moving schedules to quieter times: a plan first, then all of it in one transaction."""

from __future__ import annotations

import dataclasses
import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from webapp.extensions import db
from webapp.recurrence import Crontab, DueTime, Rule, due_times
from webapp.schedule_store import stored
from webapp.schedule_store.stored import Stored
from webapp.schedules import service
from webapp.schedules.calendar.due_index import When
from webapp.schedules.calendar.load import Coming, PoolLoad, calmest, rank
from webapp.schedules.calendar.week import CalendarLoad
from webapp.web.errors import Invalid

MAX_MOVES = 200
# How many hours are considered for a schedule that fires each hour, and how many days for one that fires each day.
HOURS, DAYS = 24, 7
NO_MINUTE = "it is not a crontab with one fixed minute"
NO_HOUR = "it is not a crontab with one fixed hour and minute"


@dataclass(frozen=True, slots=True)
class Target:
    """The new time of a schedule; `hour` is None if its hours do not change."""

    minute: int
    hour: int | None = None

    def of(self, rule: Crontab) -> Crontab:
        """A crontab moved to this time."""
        return at_minute(rule if self.hour is None else dataclasses.replace(rule, hour=str(self.hour)), self.minute)


# A schedule's id, the version that the user saw, and the new time.
MoveRequest = tuple[int, int, Target]


@dataclass(frozen=True, slots=True)
class Move:
    """A planned move: the crontab before and after, and the next due time with each."""

    schedule: Stored
    before: str
    after: str
    target: Target
    next_before: DueTime | None
    next_after: DueTime | None

    @property
    def sooner(self) -> bool:
        """Whether the next due time is earlier than before. A schedule that has run today may then run again today."""
        before, after = self.next_before, self.next_after
        return before is not None and after is not None and after.utc < before.utc


@dataclass(frozen=True, slots=True)
class Plan:
    """Planned moves, and by name why others cannot be moved. `most_*` are the most fires in one of their minutes."""

    moves: Sequence[Move]
    refused: dict[str, str]
    most_before: int
    most_after: int

    @property
    def sooner(self) -> int:
        """How many schedules come due earlier than before."""
        return sum(move.sooner for move in self.moves)


def fixed_minute(rule: Rule | None) -> int | None:
    """The minute of a crontab with one fixed minute; None for any other rule."""
    if isinstance(rule, Crontab) and rule.minute.strip().isdigit():
        return int(rule.minute)
    return None


def fixed_hour(rule: Rule | None) -> int | None:
    """The hour of a crontab with one fixed time of day; None for any other rule."""
    if fixed_minute(rule) is not None and isinstance(rule, Crontab) and rule.hour.strip().isdigit():
        return int(rule.hour)
    return None


def at_minute(rule: Crontab, minute: int) -> Crontab:
    """The same crontab at another minute."""
    return dataclasses.replace(rule, minute=str(minute))


class Advice:
    """Finds quieter minutes, with a cache for schedules with the same due times, queue and run time."""

    def __init__(self, loads: CalendarLoad) -> None:
        self._loads = loads
        self._pools = {queue: pool for pool in loads.whole.pools for queue in pool.pool.queues}
        self._known: dict[tuple[When, str, int], int | None] = {}

    def calmer(self, coming: Coming, schedule: Stored) -> int | None:
        """The least loaded minute of the schedule's hours; None if nothing else fires in its own minute."""
        minute = fixed_minute(schedule.rule)
        if minute is None:
            return None
        lasts = self.minutes_of(schedule)
        queue = self._loads.queue_of(coming.group)
        key = (coming.group.when, queue, lasts)
        if key not in self._known:
            pool, hours = self._pools[queue], hours_of(coming, minute)
            alone = all(pool.fires[hour + minute] <= 1 for hour in hours if 0 <= hour + minute < len(pool.fires))
            self._known[key] = None if alone else calmest(pool, hours, lasts, [minute])
        return self._known[key]

    def minutes_of(self, schedule: Stored) -> int:
        """How many minutes a run of it occupies a slot."""
        return math.ceil(self._loads.times.of(schedule.id, schedule.row.task).median / 60)


def hours_of(coming: Coming, minute: int) -> list[int]:
    """The beginnings of the hours of its due times, as minutes of the load."""
    return [due - minute for due in coming.due.minutes[:HOURS]]


def propose(ids: Sequence[int], hours: Sequence[int], loads: CalendarLoad, now: datetime) -> Plan:
    """A plan that spreads these schedules over the quietest minutes, one after the other.

    `hours` are the hours of the day to which they may move, in their own time zones; if empty, their hours stay. Raises
    Invalid for no schedules, or for more than MAX_MOVES.
    """
    if len(ids) > MAX_MOVES:
        raise Invalid({"": f"Move at most {MAX_MOVES} schedules at a time."})
    chosen = stored.find_many(db.session, ids)
    if not chosen:
        raise Invalid({"": "Select at least one schedule."})
    spreading = _Spreading(loads, hours)
    moves: list[Move] = []
    refused: dict[str, str] = {}
    for schedule in chosen:
        coming = spreading.coming.get(schedule.id)
        if reason := refusal(schedule.rule, to_hour=bool(hours)):
            refused[schedule.name] = reason
        elif coming is None:
            refused[schedule.name] = "it has no run in that week"
        else:
            moves.append(_move(schedule, spreading.place(schedule, coming), now))
    return Plan(moves, refused, spreading.most_before, spreading.most_after())


def refusal(rule: Rule | None, *, to_hour: bool) -> str | None:
    """Why a rule cannot be moved to another minute, or another hour; None if it can."""
    if to_hour:
        return NO_HOUR if fixed_hour(rule) is None else None
    return NO_MINUTE if fixed_minute(rule) is None else None


def _move(schedule: Stored, target: Target, now: datetime) -> Move:
    rule = schedule.rule
    assert isinstance(rule, Crontab)  # noqa: S101  # as `refusal` has checked
    after = target.of(rule)
    following: list[DueTime] = []
    if schedule.recurrence is not None:
        following = due_times(dataclasses.replace(schedule.recurrence, rule=after), now, 1, schedule.runs)
    before = schedule.due_times(now, 1)
    return Move(schedule, rule.line, after.line, target, next(iter(before), None), next(iter(following), None))


class _Spreading:
    """A copy of the load in which schedules are moved one by one."""

    def __init__(self, loads: CalendarLoad, hours: Sequence[int]) -> None:
        self._loads, self._advice, self._hours = loads, Advice(loads), hours
        self.coming = {schedule_id: coming for coming in loads.whole.coming for schedule_id in coming.ids}
        self._pools = {
            queue: dataclasses.replace(pool, fires=array("q", pool.fires), busy=array("d", pool.busy))
            for pool in loads.whole.pools
            for queue in pool.pool.queues[:1]
        }
        self._touched: list[tuple[PoolLoad, int]] = []
        self.most_before = 0

    def place(self, schedule: Stored, coming: Coming) -> Target:
        """Move a schedule to the quietest time that is allowed; gives that time."""
        minute = fixed_minute(schedule.rule) or 0
        pool, lasts = self._pool_of(coming), self._advice.minutes_of(schedule)
        if self._hours:
            hour = fixed_hour(schedule.rule) or 0
            begins = [due - minute - 60 * hour for due in coming.due.minutes[:DAYS]]
            target = self._calmest_hour(pool, begins, lasts, Target(minute, hour))
            was, new = 60 * hour + minute, 60 * (target.hour or 0) + target.minute
        else:
            begins = hours_of(coming, minute)
            found = calmest(pool, begins, lasts, [minute])
            target = Target(minute if found is None else found)
            was, new = minute, target.minute
        for begin in begins:
            self.most_before = max(self.most_before, _at(pool.fires, begin + was))
            _shift(pool, begin + was, -1, lasts)
            _shift(pool, begin + new, 1, lasts)
            self._touched.append((pool, begin + new))
        return target

    def _calmest_hour(self, pool: PoolLoad, days: Sequence[int], lasts: int, own: Target) -> Target:
        """The allowed hour with the quietest minute; of equal ones that with the fewest fires."""
        found = []
        for hour in self._hours:
            besides = [own.minute] if hour == own.hour else []
            ranked = rank(pool, [day + 60 * hour for day in days], lasts, besides)
            if ranked is not None:
                found.append((*ranked[:2], hour, ranked[-1]))
        *_rank, hour, minute = min(found)
        return Target(minute, hour)

    def most_after(self) -> int:
        """The most fires in a minute to which a schedule was moved."""
        return max((_at(pool.fires, minute) for pool, minute in self._touched), default=0)

    def _pool_of(self, coming: Coming) -> PoolLoad:
        queue = self._loads.queue_of(coming.group)
        return next(pool for pool in self._pools.values() if queue in pool.pool.queues)


def _at(counts: Sequence[int], minute: int) -> int:
    return counts[minute] if 0 <= minute < len(counts) else 0


def _shift(pool: PoolLoad, minute: int, count: int, lasts: int) -> None:
    for place in range(minute, minute + max(1, lasts)):
        if 0 <= place < len(pool.busy):
            pool.busy[place] += count
    if 0 <= minute < len(pool.fires):
        pool.fires[minute] += count


def carry_out(moves: Sequence[MoveRequest]) -> tuple[list[Stored], list[MoveRequest]]:
    """Move schedules, all or none; gives the schedules and the moves that undo this.

    Raises Conflict if one was edited meanwhile, Invalid, NotFound.
    """
    changes, origins = [], {}
    for schedule_id, version, target in moves:
        schedule = service.get(schedule_id)
        reason = refusal(schedule.rule, to_hour=target.hour is not None)
        if reason or not isinstance(schedule.rule, Crontab):
            raise Invalid({"": f"“{schedule.name}” cannot be moved: {reason}."})
        changes.append((schedule_id, {"crontab": target.of(schedule.rule).line}, version))
        hour = None if target.hour is None else fixed_hour(schedule.rule)
        origins[schedule_id] = Target(fixed_minute(schedule.rule) or 0, hour)
    done = service.save_together(changes)
    return done, [(one.id, one.row.version, origins[one.id]) for one in done]
