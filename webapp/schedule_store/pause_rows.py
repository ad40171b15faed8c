"""Reading and writing the rows of pauses, for beat and pages alike. No Flask here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session, scoped_session

from webapp.database.text_search import contains
from webapp.run_store.models import Run
from webapp.run_store.states import RunState
from webapp.schedule_store.models import Resume, SchedulePause
from webapp.schedule_store.pauses import Pause, read_tags
from webapp.schedule_store.rows import DETAILS

PAUSES: sa.Table = SchedulePause.__table__  # type: ignore[assignment]  # a mapped class has a Table here
_NAMES = ("id", "tags", "reason", "author", "starts_at", "ends_at", "ended_at", "on_resume", "schedule_id")
_UNSETTLED = (
    sa.select(*(PAUSES.c[name] for name in _NAMES), PAUSES.c.caught_up_to)
    .where(PAUSES.c.settled_at.is_(None))
    .order_by(PAUSES.c.starts_at, PAUSES.c.id)
)


def unsettled(connection: sa.Connection | Session | scoped_session[Any]) -> list[Pause]:
    """The pauses that are planned, on, or ended and not yet caught up. One statement."""
    return [pause_of(row) for row in connection.execute(_UNSETTLED)]


def pause_of(row: Any) -> Pause:
    """The pause that a row describes: it ends as planned, or earlier if a person ended it."""
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


# Skipped runs of one schedule's own pause; beat catches up no more.
MAX_OWN_SKIPPED = 1000


def skipped_by_own_pause(row: Any) -> sa.Select[Any]:
    """The runs that a schedule's own pause kept from firing, newest first, of a row of `rows.select_schedules`."""
    mine = (Run.schedule_id == row.id, Run.due_at >= row.paused_at, Run.state == RunState.SKIPPED)
    during = (Run.pause_id.is_(None), Run.reason.like("paused%"))
    return sa.select(Run.id).where(*mine, *during).order_by(Run.due_at.desc()).limit(MAX_OWN_SKIPPED)


def record_own_pause(session: Session | scoped_session[Any], row: Any, choice: Resume, now: datetime, who: str) -> None:
    """Record that a schedule's own pause ended with runs to catch up, which beat then does."""
    ended = {"ends_at": row.paused_until, "ended_at": now, "ended_by": who}
    values = {"schedule_id": row.id, "reason": row.pause_reason or "", "author": row.paused_by or "", **ended}
    insert = sa.insert(PAUSES).values(starts_at=row.paused_at, on_resume=choice, **values).returning(PAUSES.c.id)
    number = session.execute(insert).scalar_one()
    chosen = skipped_by_own_pause(row).scalar_subquery()
    change = sa.update(Run).where(Run.id.in_(chosen)).values(pause_id=number)
    session.execute(change, execution_options={"synchronize_session": False})


def tagged(tags: Sequence[str]) -> sa.ColumnElement[bool]:
    """Whether a pause of these tags concerns a schedule; a pause without tags concerns all."""
    texts = [json.dumps(tag, ensure_ascii=False) for tag in sorted(tags)]
    if not texts:
        return sa.true()
    return sa.or_(*(contains(DETAILS.c.tags, text) for text in texts))
