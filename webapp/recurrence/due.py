"""Due times: the one source for beat, preview and command line.

Instants are counted in whole microseconds since 1970-01-01T00:00Z, exactly; datetimes are made at the edges only.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from hashlib import blake2b

from webapp.recurrence.cron import Gap, compiled, crontab_note
from webapp.recurrence.errors import RecurrenceError
from webapp.recurrence.sun import EVENTS, next_event
from webapp.recurrence.values import MICROSECONDS, Crontab, DueTime, Interval, OneTime, Recurrence, Solar
from webapp.recurrence.zones import from_microseconds, to_microseconds, zone

_SECOND = 1_000_000
# A year inside datetime's limits at both ends, so that no zone's offset leads beyond them.
_FIRST = to_microseconds(datetime.fromisoformat("0002-01-01T00:00:00Z"))
_LAST = to_microseconds(datetime.fromisoformat("9998-12-31T00:00:00Z"))
_UNIT = 2**53  # the integers that a float holds exactly


def due_times(recurrence: Recurrence, after: datetime, count: int, done: int = 0) -> list[DueTime]:
    """Return the due times strictly after `after`, in order, at most `count` of them.

    `after` is aware. `done` is how many runs were already made, which `max_runs` counts. A due time exactly at `start`
    or at `end` is included. A wildcard's note about times that spring skipped is on the first due time after them,
    when `after` lies before them. Raises RecurrenceError for a rule that cannot be read.
    """
    if recurrence.max_runs is not None:
        count = min(count, recurrence.max_runs - done)
    moment = _aware("after", after)
    found: list[DueTime] = []
    while len(found) < count:
        following = _next(recurrence, moment)
        if following is None:
            break
        moment, gap = following
        found.append(_explain(recurrence, moment, gap))
    return found


def next_due(recurrence: Recurrence, after: datetime) -> DueTime | None:
    """Return the first due time strictly after `after` (aware), or None. See `due_times`."""
    return next(iter(due_times(recurrence, after, 1)), None)


def next_due_timestamp(recurrence: Recurrence, after: float, done: int = 0) -> float | None:
    """Return what `next_due` finds, from epoch seconds to epoch seconds, without its words and its jitter.

    For beat, which calls it often. The result identifies the due time, exactly to the microsecond.
    """
    if recurrence.max_runs is not None and done >= recurrence.max_runs:
        return None
    following = _next(recurrence, round(after * _SECOND))
    return None if following is None else following[0] / _SECOND


def jitter_seconds(recurrence: Recurrence, due: float) -> float:
    """Return how many seconds after a due time (epoch seconds) it fires; always the same for one due time.

    In [0, jitter), and before the next due time, so that runs keep their order.
    """
    return _jitter(recurrence, round(due * _SECOND)) / _SECOND


def _aware(field: str, moment: datetime) -> int:
    try:
        return to_microseconds(moment)
    except ValueError as error:
        raise RecurrenceError(field, "a time needs a time zone, such as 2027-10-30T22:00:00Z") from error


def _next(recurrence: Recurrence, after: int, *, endless: bool = False) -> tuple[int, Gap | None] | None:
    """Return the first due time after `after` and within start and end; a gap that swallowed times on the way."""
    after = max(after, _FIRST)
    if recurrence.start is not None:
        after = max(after, _aware("start", recurrence.start) - 1)
    if after >= _LAST:
        return None
    gap: Gap | None = None
    rule = recurrence.rule
    match rule:
        case Crontab():
            following = compiled(rule, recurrence.timezone).next_after(after // _SECOND)
            due, gap = (None, None) if following is None else (following[0] * _SECOND, following[1])
        case Interval():
            due = _next_on_grid(rule, recurrence, after)
        case Solar():
            check_event(rule)
            due = next_event(rule, after)
        case OneTime():
            at = _aware("at", rule.at)
            due = at if at > after else None
    end = None if endless else recurrence.end
    if due is None or due > _LAST or (end is not None and due > _aware("end", end)):
        return None
    return due, gap


def grid_origin(recurrence: Recurrence) -> int:
    """Return where an interval's grid begins, in microseconds since the epoch: the first time that is due."""
    if recurrence.start is not None:
        return _aware("start", recurrence.start)
    return 0 if recurrence.anchor is None else _aware("anchor", recurrence.anchor)


def _next_on_grid(rule: Interval, recurrence: Recurrence, after: int) -> int:
    origin = grid_origin(recurrence)
    if after < origin:
        return origin
    step = interval_microseconds(rule)
    return origin + ((after - origin) // step + 1) * step


def interval_microseconds(rule: Interval) -> int:
    """Return the length of an interval in microseconds. Raises RecurrenceError (fields `every`, `period`)."""
    if rule.period not in MICROSECONDS:
        raise RecurrenceError("period", f"'{rule.period}' is not one of {', '.join(MICROSECONDS)}")
    if rule.every < 1:
        raise RecurrenceError("every", "every must be at least 1")
    return rule.every * MICROSECONDS[rule.period]


def check_event(rule: Solar) -> None:
    """Raises RecurrenceError (field `event`) for an event of the sun that is not known."""
    if rule.event not in EVENTS:
        raise RecurrenceError("event", f"'{rule.event}' is not one of {', '.join(EVENTS)}")


def _explain(recurrence: Recurrence, due: int, gap: Gap | None) -> DueTime:
    utc = from_microseconds(due)
    rule, timezone = recurrence.rule, recurrence.timezone
    note = crontab_note(compiled(rule, timezone), due // _SECOND, gap) if isinstance(rule, Crontab) else ""
    return DueTime(
        utc=utc,
        local=utc.astimezone(zone(timezone)),
        note=note,
        fires_at=utc + timedelta(microseconds=_jitter(recurrence, due)),
    )


def _jitter(recurrence: Recurrence, due: int) -> int:
    """Return the jitter in microseconds. It is a hash and no random number, so that all beats agree on it."""
    if recurrence.jitter <= 0:
        return 0
    digest = blake2b(f"{recurrence.seed}:{due}".encode(), digest_size=8).digest()
    share = (int.from_bytes(digest) >> 11) / _UNIT
    longest = recurrence.jitter * _SECOND
    # `endless`, so that the last due time before the end has a limit as well.
    following = _next(recurrence, due, endless=True)
    if following is not None:
        longest = min(longest, following[0] - due)
    return int(share * longest)
