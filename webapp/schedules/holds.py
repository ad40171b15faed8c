"""What keeps a schedule from firing at a moment, by the rules of beat: its own pause, a wider one, a change window."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from webapp.schedule_store.pauses import Pause, covering, pause_text
from webapp.schedule_store.status import comes_due
from webapp.schedule_store.stored import Stored

INSTANT = timedelta(microseconds=1)
# How many consecutive pauses are passed in the search for the next due time that fires.
MAX_PAUSES = 20


class Hold(NamedTuple):
    """Why nothing fires, and until when; `pause_id` is that of a global or tag pause."""

    told: str
    until: datetime | None
    pause_id: int | None


def hold(schedule: Stored, due: datetime, pauses: Sequence[Pause]) -> Hold | None:
    """What keeps a due time from firing; None if it fires. `pauses` are all that are not settled."""
    return hold_at(schedule, schedule.fires_at(due), pauses)


def hold_at(schedule: Stored, moment: datetime, pauses: Sequence[Pause]) -> Hold | None:
    """What holds the schedule at a moment; None if nothing does."""
    row = schedule.row
    if schedule.paused and row.paused_at <= moment and (row.paused_until is None or moment < row.paused_until):
        return Hold(pause_text(row.pause_reason or "", row.paused_by or ""), row.paused_until, None)
    pause = covering(pauses, schedule.tags, moment)
    return None if pause is None else Hold(pause.text, pause.ends_at, pause.id)


def next_firing(
    schedule: Stored, now: datetime, pauses: Sequence[Pause], skipped: Collection[datetime] = ()
) -> datetime | None:
    """The next due time that fires: the one that beat stored, if it is still valid, else computed. None if none fires.

    It may be in the past while its jitter is not over; see `Stored.fires_at`.
    """
    if not comes_due(schedule):
        return None
    noted: datetime | None = schedule.row.next_due_at
    if (
        noted is not None
        and schedule.fires_at(noted) > now
        and noted not in skipped
        and hold(schedule, noted, pauses) is None
    ):
        return noted
    after = now
    for _ in range(MAX_PAUSES):
        due = schedule.due_times(after, 1 + len(skipped))
        first = next((one.utc for one in due if one.utc not in skipped), None)
        held = hold(schedule, first, pauses) if first is not None else None
        if held is None or held.until is None:
            return first if held is None else None
        after = max(held.until - INSTANT, first or after)
    return None
