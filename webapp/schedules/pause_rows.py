"""Reading pauses, for beat and pages alike. No Flask here."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session, scoped_session

from webapp.schedules.models import Resume, SchedulePause
from webapp.schedules.pauses import Pause, read_tags

PAUSES: sa.Table = SchedulePause.__table__  # type: ignore[assignment]  # a mapped class has a Table here
_NAMES = ("id", "tags", "reason", "author", "starts_at", "ends_at", "ended_at", "on_resume", "schedule_id")
_UNSETTLED = (
    sa.select(*(PAUSES.c[name] for name in _NAMES), PAUSES.c.caught_up_to)
    .where(PAUSES.c.settled_at.is_(None))
    .order_by(PAUSES.c.starts_at, PAUSES.c.id)
)


def unsettled(connection: sa.Connection | Session | scoped_session[Any]) -> list[Pause]:
    """The pauses that are planned, on, or ended and not yet made up for. One statement."""
    return [value(row) for row in connection.execute(_UNSETTLED)]


def value(row: Any) -> Pause:
    """A row of `pauses` as what it means: whoever ended it early ended it then."""
    ends = [end for end in (row.ends_at, row.ended_at) if end is not None]
    return Pause(
        row.id,
        frozenset(read_tags(row.tags)),
        row.reason,
        row.author,
        row.starts_at,
        min(ends, default=None),
        Resume(row.on_resume) if row.on_resume in tuple(Resume) else Resume.SKIP,
        row.schedule_id,
        row.caught_up_to,
    )
