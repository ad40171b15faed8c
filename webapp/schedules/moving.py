"""Moving schedules to calmer minutes of their hours: proposed first, then done in one transaction, or not at all."""

from __future__ import annotations

import dataclasses
import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from webapp.errors import Invalid
from webapp.extensions import db
from webapp.scheduler.recurrence import Crontab, DueTime, Rule, due_times
from webapp.schedules import service, stored
from webapp.schedules.calendar import Reckoned
from webapp.schedules.load import Coming, PoolLoad, calmest
from webapp.schedules.roster import When
from webapp.schedules.stored import Stored

MOST = 200
# Of a schedule that fires each hour, so many hours are looked at.
HOURS = 24


@dataclass(frozen=True, slots=True)
class Move:
    """One schedule, its crontab as it is and as it would be, and its next due time with each."""

    schedule: Stored
    before: str
    after: str
    minute: int
    next_before: DueTime | None
    next_after: DueTime | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be moved, and by name what cannot be and why. `most_*`: most fires of one of its minutes."""

    moves: Sequence[Move]
    refused: dict[str, str]
    most_before: int
    most_after: int


def fixed_minute(rule: Rule | None) -> int | None:
    """The minute of a crontab that names one minute of the hour, whatever its hours; None for every other rule."""
    if isinstance(rule, Crontab) and rule.minute.strip().isdigit():
        return int(rule.minute)
    return None


def at_minute(rule: Crontab, minute: int) -> Crontab:
    """The same crontab at another minute."""
    return dataclasses.replace(rule, minute=str(minute))


class Advice:
    """Looks for calmer minutes, one answer for all that come due together and take as long."""

    def __init__(self, reckoned: Reckoned) -> None:
        self._reckoned = reckoned
        self._pools = {queue: pool for pool in reckoned.load.pools for queue in pool.pool.queues}
        self._known: dict[tuple[When, str, int], int | None] = {}

    def calmer(self, coming: Coming, schedule: Stored) -> int | None:
        """The least loaded minute of the schedule's hours; None when its own is as calm, or it does not come due."""
        minute = fixed_minute(schedule.rule)
        if minute is None:
            return None
        lasts = self.minutes_of(schedule)
        queue = self._reckoned.queue_of(coming.group)
        key = (coming.group.when, queue, lasts)
        if key not in self._known:
            pool, hours = self._pools[queue], hours_of(coming, minute)
            alone = all(pool.fires[hour + minute] <= 1 for hour in hours if 0 <= hour + minute < len(pool.fires))
            self._known[key] = None if alone else calmest(pool, hours, lasts, [minute])
        return self._known[key]

    def minutes_of(self, schedule: Stored) -> int:
        """For how many minutes a run of it keeps its slot."""
        return math.ceil(self._reckoned.times.of(schedule.id, schedule.row.task).median / 60)


def hours_of(coming: Coming, minute: int) -> list[int]:
    """Where the hours of its due times begin, as minutes of the load."""
    return [due - minute for due in coming.due.minutes[:HOURS]]


def propose(ids: Sequence[int], reckoned: Reckoned, now: datetime) -> Plan:
    """Spread these schedules over the calmest minutes of their hours, one after the other.

    Raises Invalid for none, or for more than MOST.
    """
    if len(ids) > MOST:
        raise Invalid({"": f"At most {MOST} at a time: choose fewer of them."})
    chosen = stored.find_many(db.session, ids)
    if not chosen:
        raise Invalid({"": "Choose at least one schedule."})
    spreading = _Spreading(reckoned)
    moves: list[Move] = []
    refused: dict[str, str] = {}
    for schedule in chosen:
        coming = spreading.coming.get(schedule.id)
        if not isinstance(schedule.rule, Crontab) or fixed_minute(schedule.rule) is None:
            refused[schedule.name] = "it is no crontab with one fixed minute"
        elif coming is None:
            refused[schedule.name] = "it does not come due in that week"
        else:
            moves.append(_move(schedule, schedule.rule, spreading.place(schedule, coming), now))
    return Plan(moves, refused, spreading.most_before, spreading.most_after())


def _move(schedule: Stored, rule: Crontab, minute: int, now: datetime) -> Move:
    after = at_minute(rule, minute)
    following: list[DueTime] = []
    if schedule.recurrence is not None:
        following = due_times(dataclasses.replace(schedule.recurrence, rule=after), now, 1, schedule.row.runs or 0)
    before = schedule.due_times(now, 1)
    return Move(schedule, rule.line, after.line, minute, next(iter(before), None), next(iter(following), None))


class _Spreading:
    """The load while schedules are moved in it, one by one; the load that was given stays as it is."""

    def __init__(self, reckoned: Reckoned) -> None:
        self._reckoned, self._advice = reckoned, Advice(reckoned)
        self.coming = {schedule_id: coming for coming in reckoned.load.coming for schedule_id in coming.ids}
        self._pools = {
            queue: dataclasses.replace(pool, fires=array("q", pool.fires), busy=array("d", pool.busy))
            for pool in reckoned.load.pools
            for queue in pool.pool.queues[:1]
        }
        self._touched: list[tuple[PoolLoad, int]] = []
        self.most_before = 0

    def place(self, schedule: Stored, coming: Coming) -> int:
        """Move it to the calmest minute and give that."""
        minute = fixed_minute(schedule.rule) or 0
        pool = self._pool_of(coming)
        hours, lasts = hours_of(coming, minute), self._advice.minutes_of(schedule)
        found = calmest(pool, hours, lasts, [minute])
        new = minute if found is None else found
        for hour in hours:
            self.most_before = max(self.most_before, _at(pool.fires, hour + minute))
            _shift(pool, hour + minute, -1, lasts)
            _shift(pool, hour + new, 1, lasts)
            self._touched.append((pool, hour + new))
        return new

    def most_after(self) -> int:
        """The most fires of a minute that something was moved to."""
        return max((_at(pool.fires, minute) for pool, minute in self._touched), default=0)

    def _pool_of(self, coming: Coming) -> PoolLoad:
        queue = self._reckoned.queue_of(coming.group)
        return next(pool for pool in self._pools.values() if queue in pool.pool.queues)


def _at(counts: Sequence[int], minute: int) -> int:
    return counts[minute] if 0 <= minute < len(counts) else 0


def _shift(pool: PoolLoad, minute: int, count: int, lasts: int) -> None:
    for place in range(minute, minute + max(1, lasts)):
        if 0 <= place < len(pool.busy):
            pool.busy[place] += count
    if 0 <= minute < len(pool.fires):
        pool.fires[minute] += count


def carry_out(moves: Sequence[tuple[int, int, int]]) -> list[Stored]:
    """Move schedules, each given by its number, the version that was looked at, and its new minute.

    All of them or none: raises Conflict when somebody edited one meanwhile, Invalid, NotFound.
    """
    changes = []
    for schedule_id, version, minute in moves:
        schedule = service.get(schedule_id)
        if not isinstance(schedule.rule, Crontab) or fixed_minute(schedule.rule) is None:
            raise Invalid({"": f"“{schedule.name}” is no crontab with one fixed minute."})
        changes.append((schedule_id, {"crontab": at_minute(schedule.rule, minute).line}, version))
    return service.save_together(changes)
