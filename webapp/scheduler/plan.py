"""Plans the due times of one schedule that have come: which fire, which are missed, which are skipped.

Pure: the moment is an argument, nothing is read or written.

1. Collect the due times whose moment has come, in order.
2. Those that would have fired during a pause, and all of them while one is on, are skipped.
3. Of the others, those that are late beyond a tolerance are misfires; so are all but the last few of a schedule that
   comes due more often than beat can fire.
4. Without misfires, every due time fires.
5. With misfires, the schedule's policy decides. Skip: only the newest due time fires, if it is no misfire itself. Run
   once: only the newest due time fires, if it is not older than the window; it stands in for the others. Run all: those
   within the window fire.

Each missed due time becomes a run with its reason, the newest MISSED_ROWS of them one by one; the newest missed one
says how many earlier ones there were. A schedule of one second that was off for a day does not make 86,400 rows. Those
that a pause skipped while no beat led are kept like that too, but for what lies within the schedule's window: it may
yet be caught up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from webapp.database.moments import moment
from webapp.run_store.states import RunState
from webapp.schedule_store.entries import Entry
from webapp.schedule_store.models import Misfire
from webapp.schedule_store.pauses import Pause, covering

# A due time that is later than this many seconds is a misfire. More than a failover takes, so that one loses nothing.
TOLERANCE = 10.0
# How many missed due times of one schedule get a row of their own at a time.
MISSED_ROWS = 10
# At most that many due times of one schedule are fired at a time when nothing was missed, or by "run all".
MAX_DUE = 200
MAX_CAUGHT_UP = 1000


class Occurrence(NamedTuple):
    """One due time and what happens to it. `state` is queued, missed or skipped; `due` is in epoch seconds.

    `pause_id` is that of the pause of everything or of tags that keeps it from firing.
    """

    due: float
    state: RunState
    reason: str | None
    pause_id: int | None = None


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


def plan(entry: Entry, now: float, tolerance: float = TOLERANCE, pauses: Sequence[Pause] = ()) -> Plan:
    """Plan an entry whose `fires_at` is not after `now` (epoch seconds). `pauses` are those of everything or tags."""
    due = entry.next_due
    if due is None:
        raise ValueError(f"schedule {entry.id} has nothing to wait for")
    following = entry.following(due, entry.done + 1)
    if entry.fires_at > now - tolerance and (following is None or entry.firing(following) > now):
        occurrence = _paused(entry, due, now, pauses) or Occurrence(due, RunState.QUEUED, None)
        # A due time that did not fire does not count toward the maximum, so that there may be another one after all.
        if following is None and occurrence.state is not RunState.QUEUED:
            following = entry.following(due)
        return Plan(entry, [occurrence], due, following)
    return _plan_many(entry, _collect(entry, due, now), now, tolerance, pauses)


def _paused(entry: Entry, due: float, now: float, pauses: Sequence[Pause]) -> Occurrence | None:
    """The due time as skipped, when a pause holds at the moment at which it would fire, or holds now."""
    policy = entry.policy
    if policy.paused_from is None and not pauses:
        return None
    moments = (entry.firing(due), now)
    if any(map(policy.paused, moments)):
        return Occurrence(due, RunState.SKIPPED, policy.paused_as)
    for at in map(moment, moments):
        if pause := covering(pauses, entry.tags, at):
            return Occurrence(due, RunState.SKIPPED, pause.text, pause.id)
    return None


def _collect(entry: Entry, due: float, now: float) -> _Due:
    """All due times that have come, or the newest of them when there are too many to look at each."""
    keep = MAX_CAUGHT_UP if entry.policy.misfire == Misfire.RUN_ALL else MAX_DUE
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


def _plan_many(entry: Entry, due: _Due, now: float, tolerance: float, pauses: Sequence[Pause]) -> Plan:
    held = [found for time in due.times if (found := _paused(entry, time, now, pauses))]
    skipped = {occurrence.due for occurrence in held}
    free = [time for time in due.times if time not in skipped] if held else due.times
    missed, fired, because = _by_policy(entry, free, due, now, tolerance)
    occurrences = _miss(entry, missed, due, now) + [Occurrence(time, RunState.QUEUED, because) for time in fired]
    if held:
        occurrences += _skip(entry, held, 0 if missed else due.left_out, now)
        occurrences.sort(key=lambda occurrence: occurrence.due)
    return _finish(entry, occurrences, due)


def _by_policy(
    entry: Entry, times: list[float], due: _Due, now: float, tolerance: float
) -> tuple[list[float], list[float], str | None]:
    """Which of the due times that no pause holds are missed, which fire, and why those do although they are late."""
    cutoff = now - tolerance
    late = [time for time in times if entry.firing(time) <= cutoff]
    if not times or not (late or due.left_out):
        return [], times, None
    reachable = now - entry.policy.window
    if entry.policy.misfire == Misfire.SKIP:
        # Those that are not late either: else several would fire at one instant.
        return (times, [], None) if times[-1] in late else (times[:-1], times[-1:], None)
    if entry.policy.misfire == Misfire.RUN_ALL:
        missed = [time for time in late if time < reachable]
        return missed, times[len(missed) :], "caught up: run all"
    newest = times[-1]
    if newest < reachable:
        return times, [], None
    return times[:-1], [newest], "caught up: stands for all runs missed before"


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


def _skip(entry: Entry, held: list[Occurrence], left_out: int, now: float) -> list[Occurrence]:
    """Those that a pause held: each within the schedule's window, and the newest few of the older ones."""
    old = sum(occurrence.due < now - entry.policy.window for occurrence in held)
    hidden = max(old - MISSED_ROWS, 0)
    shown = held[hidden:]
    if hidden + left_out:
        shown[0] = shown[0]._replace(reason=f"{shown[0].reason}; and at least {hidden + left_out} before")
    return shown


def _miss(entry: Entry, times: list[float], due: _Due, now: float) -> list[Occurrence]:
    if not times:
        return []
    shown = times[-MISSED_ROWS:]
    hidden = due.left_out + len(times) - len(shown)
    reasons = [
        f"beat was not running ({_lateness(now - time)} late); missed runs: {entry.policy.misfire}" for time in shown
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
