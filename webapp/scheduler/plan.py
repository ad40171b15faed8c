"""What becomes of the due times of one schedule that have come: which fire, which are missed, which are skipped.

Pure: the moment is an argument, nothing is read or written.

1. Collect the due times whose moment has come, in order.
2. Those that are late beyond a tolerance are misfires; so are all but the last few of a schedule that comes due more
   often than anyone can fire.
3. Without misfires, every due time fires.
4. With misfires, the schedule's policy decides. Skip: the misfires are missed, the others fire. Run once: only the
   newest due time fires, if it is not older than the window; it stands in for the others. Run all: those within the
   window fire.
5. What would fire during a pause is skipped.

Each missed due time becomes a run with its reason, the newest MISSED_ROWS of them one by one; the newest missed one
says how many earlier ones there were. A schedule of one second that was off for a day does not make 86,400 rows.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from webapp.runs.states import RunState
from webapp.scheduler.database import moment
from webapp.scheduler.entries import Entry
from webapp.schedules.models import Misfire

# A due time that is later than this many seconds is a misfire. More than a failover takes, so that one loses nothing.
TOLERANCE = 10.0
# How many missed due times of one schedule get a row of their own at a time.
MISSED_ROWS = 10
# At most that many due times of one schedule are fired at a time when nothing was missed, or by "run all".
MOST_AT_ONCE = 200
MOST_CAUGHT_UP = 1000


class Occurrence(NamedTuple):
    """One due time and what becomes of it. `state` is queued, missed or skipped; `due` is in epoch seconds."""

    due: float
    state: RunState
    reason: str | None


class Plan(NamedTuple):
    """The occurrences of an entry, oldest first; the last due time they account for; the next one to wait for."""

    entry: Entry
    occurrences: list[Occurrence]
    last_due: float
    next_due: float | None


class _Due(NamedTuple):
    times: list[float]
    left_out: int
    exact: bool
    first: float
    next: float | None


def plan(entry: Entry, now: float, tolerance: float = TOLERANCE) -> Plan:
    """Plan an entry whose `fires_at` is not after `now` (epoch seconds)."""
    due = entry.next_due
    if due is None:
        raise ValueError(f"schedule {entry.id} has nothing to wait for")
    following = entry.following(due, entry.done + 1)
    if entry.fires_at > now - tolerance and (following is None or entry.firing(following) > now):
        occurrences = _fire(entry, [due], None)
        # A due time that did not fire does not count toward the maximum, so that there may be another one after all.
        if following is None and occurrences[0].state is not RunState.QUEUED:
            following = entry.following(due)
        return Plan(entry, occurrences, due, following)
    return _plan_many(entry, _collect(entry, due, now), now, tolerance)


def _collect(entry: Entry, due: float, now: float) -> _Due:
    """All due times that have come, or the newest of them when there are too many to look at each."""
    keep = MOST_CAUGHT_UP if entry.policy.misfire == Misfire.RUN_ALL else MOST_AT_ONCE
    times: deque[float] = deque(maxlen=keep)
    first, left_out, exact = due, 0, True
    seen = 0
    moving: float | None = due
    while moving is not None and entry.firing(moving) <= now:
        if len(times) == keep:
            left_out += 1
        times.append(moving)
        seen += 1
        if seen == 2 * keep:
            # Go on near the end, as far from it as the due times so far suggest.
            ahead = now - 1.5 * keep * (moving - first) / (seen - 1)
            if ahead > moving:
                times.clear()
                moving, exact, left_out = ahead, False, seen
        moving = entry.following(moving, 0)
    return _Due(list(times), left_out, exact, first, moving)


def _plan_many(entry: Entry, due: _Due, now: float, tolerance: float) -> Plan:
    cutoff = now - tolerance
    late = [time for time in due.times if entry.firing(time) <= cutoff]
    on_time = due.times[len(late) :]
    too_many = due.left_out > 0
    if not late and not too_many:
        return _finish(entry, _fire(entry, on_time, None), due)
    policy = entry.policy
    reachable = now - policy.window
    if policy.misfire == Misfire.SKIP:
        missed, fired, because = late, on_time, None
    elif policy.misfire == Misfire.RUN_ALL:
        missed = [time for time in late if time < reachable]
        fired, because = due.times[len(missed) :], "caught up: run all"
    else:
        newest = due.times[-1]
        within = newest >= reachable
        missed = due.times[:-1] if within else due.times
        fired, because = ([newest] if within else []), "caught up: stands in for what was missed before"
    occurrences = _miss(entry, missed, due, now) + _fire(entry, fired, because)
    return _finish(entry, occurrences, due)


def _finish(entry: Entry, occurrences: list[Occurrence], due: _Due) -> Plan:
    """Respect the maximum number of runs: what comes after the last one is not due any more."""
    most = entry.recurrence.max_runs
    next_due, last_due = due.next, due.times[-1]
    if most is not None:
        left = most - entry.done
        kept: list[Occurrence] = []
        for occurrence in occurrences:
            if left <= 0:
                break
            kept.append(occurrence)
            left -= occurrence.state is RunState.QUEUED
        occurrences = kept
        if left <= 0:
            next_due = None
            last_due = kept[-1].due if kept else last_due
    return Plan(entry, occurrences, last_due, next_due)


def _fire(entry: Entry, times: list[float], because: str | None) -> list[Occurrence]:
    policy = entry.policy
    if policy.paused_from is None:
        return [Occurrence(time, RunState.QUEUED, because) for time in times]
    paused = f"paused: {policy.pause_reason}" if policy.pause_reason else "paused"
    return [
        Occurrence(time, RunState.SKIPPED, paused)
        if policy.paused(time)
        else Occurrence(time, RunState.QUEUED, because)
        for time in times
    ]


def _miss(entry: Entry, times: list[float], due: _Due, now: float) -> list[Occurrence]:
    if not times:
        return []
    shown = times[-MISSED_ROWS:]
    hidden = due.left_out + len(times) - len(shown)
    reasons = [
        f"no beat fired it in time ({_lateness(now - time)} late); policy: {entry.policy.misfire}" for time in shown
    ]
    if hidden:
        many = f"{hidden} more" if due.exact else f"more than {hidden} others"
        reasons[-1] += f"; and {many} since {moment(due.first):%Y-%m-%d %H:%M:%S} UTC"
    return [Occurrence(time, RunState.MISSED, reason) for time, reason in zip(shown, reasons, strict=True)]


def _lateness(late: float) -> str:
    for size, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if late >= size:
            return f"{late / size:.1f} {name}"
    return f"{late:.1f} s"
