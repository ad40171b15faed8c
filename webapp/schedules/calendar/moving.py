"""Moving schedules to calmer times: proposed first, then done in one transaction, or not at all."""

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
from webapp.schedules.calendar.load import Coming, PoolLoad, calmest, rank
from webapp.schedules.calendar.roster import When
from webapp.schedules.calendar.week import Reckoned
from webapp.web.errors import Invalid

MOST = 200
# Of a schedule that fires each hour, so many hours are looked at; of one that fires each day, so many days.
HOURS, DAYS = 24, 7
NO_MINUTE = "it is not a crontab with one fixed minute"
NO_HOUR = "it is not a crontab with one fixed hour and minute"


@dataclass(frozen=True, slots=True)
class Target:
    """Where to: `hour` is None where the hours stay as they are."""

    minute: int
    hour: int | None = None

    def of(self, rule: Crontab) -> Crontab:
        """The same crontab there."""
        return at_minute(rule if self.hour is None else dataclasses.replace(rule, hour=str(self.hour)), self.minute)


# A schedule's number, the version that was looked at, and where to.
Asked = tuple[int, int, Target]


@dataclass(frozen=True, slots=True)
class Move:
    """One schedule, its crontab as it is and as it would be, and its next due time with each."""

    schedule: Stored
    before: str
    after: str
    target: Target
    next_before: DueTime | None
    next_after: DueTime | None

    @property
    def sooner(self) -> bool:
        """Whether it comes due sooner than it would now; what ran today already may then run again today."""
        before, after = self.next_before, self.next_after
        return before is not None and after is not None and after.utc < before.utc


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be moved, and by name what cannot be and why. `most_*`: most fires of one of its minutes."""

    moves: Sequence[Move]
    refused: dict[str, str]
    most_before: int
    most_after: int

    @property
    def sooner(self) -> int:
        """How many come due sooner than they would now."""
        return sum(move.sooner for move in self.moves)


def fixed_minute(rule: Rule | None) -> int | None:
    """The minute of a crontab that names one minute of the hour, whatever its hours; None for every other rule."""
    if isinstance(rule, Crontab) and rule.minute.strip().isdigit():
        return int(rule.minute)
    return None


def fixed_hour(rule: Rule | None) -> int | None:
    """The hour of a crontab that names one time of the day; None for every other rule."""
    if fixed_minute(rule) is not None and isinstance(rule, Crontab) and rule.hour.strip().isdigit():
        return int(rule.hour)
    return None


def at_minute(rule: Crontab, minute: int) -> Crontab:
    """The same crontab at another minute."""
    return dataclasses.replace(rule, minute=str(minute))


class Advice:
    """Looks for calmer minutes, one answer for all that come due together and take as long."""

    def __init__(self, reckoned: Reckoned) -> None:
        self._reckoned = reckoned
        self._pools = {queue: pool for pool in reckoned.whole.pools for queue in pool.pool.queues}
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


def propose(ids: Sequence[int], hours: Sequence[int], reckoned: Reckoned, now: datetime) -> Plan:
    """Spread these schedules over the calmest minutes, one after the other.

    `hours` are those of the day that they may move to, on the clock of each; without any, each stays in its own ones.
    Raises Invalid for no schedules, or for more than MOST.
    """
    if len(ids) > MOST:
        raise Invalid({"": f"Move at most {MOST} schedules at a time."})
    chosen = stored.find_many(db.session, ids)
    if not chosen:
        raise Invalid({"": "Select at least one schedule."})
    spreading = _Spreading(reckoned, hours)
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
    """Why a rule cannot be moved to another minute, or another hour; None when it can."""
    if to_hour:
        return NO_HOUR if fixed_hour(rule) is None else None
    return NO_MINUTE if fixed_minute(rule) is None else None


def _move(schedule: Stored, target: Target, now: datetime) -> Move:
    rule = schedule.rule
    assert isinstance(rule, Crontab)  # noqa: S101  # `refusal` has looked
    after = target.of(rule)
    following: list[DueTime] = []
    if schedule.recurrence is not None:
        following = due_times(dataclasses.replace(schedule.recurrence, rule=after), now, 1, schedule.runs)
    before = schedule.due_times(now, 1)
    return Move(schedule, rule.line, after.line, target, next(iter(before), None), next(iter(following), None))


class _Spreading:
    """The load while schedules are moved in it, one by one; the load that was given stays as it is."""

    def __init__(self, reckoned: Reckoned, hours: Sequence[int]) -> None:
        self._reckoned, self._advice, self._hours = reckoned, Advice(reckoned), hours
        self.coming = {schedule_id: coming for coming in reckoned.whole.coming for schedule_id in coming.ids}
        self._pools = {
            queue: dataclasses.replace(pool, fires=array("q", pool.fires), busy=array("d", pool.busy))
            for pool in reckoned.whole.pools
            for queue in pool.pool.queues[:1]
        }
        self._touched: list[tuple[PoolLoad, int]] = []
        self.most_before = 0

    def place(self, schedule: Stored, coming: Coming) -> Target:
        """Move it to the calmest time that it may have, and give that."""
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
        """Of the hours that are allowed the one with the calmest minute; of equal ones that in which least fires."""
        found = []
        for hour in self._hours:
            besides = [own.minute] if hour == own.hour else []
            ranked = rank(pool, [day + 60 * hour for day in days], lasts, besides)
            if ranked is not None:
                found.append((*ranked[:2], hour, ranked[-1]))
        *_rank, hour, minute = min(found)
        return Target(minute, hour)

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


def carry_out(moves: Sequence[Asked]) -> tuple[list[Stored], list[Asked]]:
    """Move schedules, and give with them what would move them back.

    All of them or none: raises Conflict when somebody edited one meanwhile, Invalid, NotFound.
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
