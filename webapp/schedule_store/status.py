"""The status of a schedule: one rule, for a schedule that was loaded and for the tables in SQL. No Flask here.

1. Done: it was to run once and has, or beat switched it off after its last run or its end.
2. Disabled otherwise, where it is off.
3. Broken: it cannot fire. SQL knows what beat noted, Python also what is in a row that beat has not read yet.
4. Paused: its own pause, or one of everything or of its tags, holds it now.
5. On trial: it was paused for its failures and has not succeeded since it was resumed.
6. Enabled otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

import sqlalchemy as sa

from webapp.schedule_store.pause_rows import tagged
from webapp.schedule_store.pauses import Pause
from webapp.schedule_store.rows import CLOCKED, DETAILS, FIRED, MAX_RUNS, PROGRESS, TASKS
from webapp.schedule_store.stored import Stored


class Status(StrEnum):
    """In the words of pages, of filters and of the command line."""

    ENABLED = "enabled"
    DISABLED = "disabled"
    PAUSED = "paused"
    ON_TRIAL = "on trial"
    DONE = "done"
    BROKEN = "broken"


# Of schedules that come due; which of these it is depends on the moment and on pauses.
DUE = (Status.PAUSED, Status.ON_TRIAL, Status.ENABLED)


def status_of(schedule: Stored, *, held: bool) -> Status:
    """The status of a schedule; `held` says whether a pause holds it at this moment."""
    if schedule.finished:
        return Status.DONE
    if not schedule.row.enabled:
        return Status.DISABLED
    if schedule.problem:
        return Status.BROKEN
    if held:
        return Status.PAUSED
    return Status.ON_TRIAL if schedule.row.failing_since else Status.ENABLED


def comes_due(schedule: Stored) -> bool:
    """Whether beat has due times of it, paused or not."""
    return status_of(schedule, held=False) in DUE


_SWITCHED_OFF = PROGRESS.c.last_due_at.is_not(None) & PROGRESS.c.revision.is_(None)
_SPENT = sa.or_(
    CLOCKED,
    MAX_RUNS.is_not(None) & (PROGRESS.c.runs >= MAX_RUNS),
    DETAILS.c.ends_at.is_not(None),
    TASKS.c.expires.is_not(None),
)
_DONE = sa.or_(FIRED, TASKS.c.enabled.is_(False) & _SWITCHED_OFF & _SPENT)
# Whether it is to fire at all, and what beat noted of one that cannot.
ON = TASKS.c.enabled.is_(True) & ~FIRED
OFF = ~ON
BROKEN, FINE = PROGRESS.c.broken.is_not(None), PROGRESS.c.broken.is_(None)
_FAILING = DETAILS.c.failing_since.is_not(None)


def is_paused(now: datetime, pauses: Sequence[Pause] = ()) -> sa.ColumnElement[bool]:
    """Whether a pause holds, the schedule's own or one of these."""
    own = DETAILS.c.paused_at.is_not(None) & (DETAILS.c.paused_at <= now)
    own &= DETAILS.c.paused_until.is_(None) | (DETAILS.c.paused_until > now)
    return sa.or_(own, *(tagged(sorted(pause.tags)) for pause in pauses if pause.holds(now)))


def has_status(status: Status, now: datetime, pauses: Sequence[Pause] = ()) -> list[sa.ColumnElement[bool]]:
    """What rows of the tables must meet to have a status; `pauses` are those that are not settled."""
    paused = is_paused(now, pauses)
    conditions: dict[Status, list[sa.ColumnElement[bool]]] = {
        Status.DONE: [OFF, _DONE],
        Status.DISABLED: [OFF, ~_DONE],
        Status.BROKEN: [ON, BROKEN],
        Status.PAUSED: [ON, FINE, paused],
        Status.ON_TRIAL: [ON, FINE, ~paused, _FAILING],
        Status.ENABLED: [ON, FINE, ~paused, ~_FAILING],
    }
    return conditions[status]
