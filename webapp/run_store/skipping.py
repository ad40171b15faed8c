"""Skipping a due time that has not come yet: its run is written beforehand, as skipped.

A due time can have only one run, so beat finds it taken and goes on to the next one.
"""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from beatdesk.execution.ids import due_run_id
from webapp.database.dialects import Many, one_of
from webapp.extensions import db
from webapp.run_store.creation import NewRun, insert
from webapp.run_store.models import Run
from webapp.run_store.states import Origin, RunState


def skip_due(
    *, schedule_id: int, name: str, version: int, task: str, due_at: datetime, reason: str, now: datetime
) -> str | None:
    """Add the skipped run of a due time to the transaction; gives its id, None when the due time has a run already."""
    skipped = NewRun(
        due_run_id(schedule_id, due_at.timestamp()),
        task,
        RunState.SKIPPED,
        Origin.SCHEDULE,
        now,
        reason=reason,
        schedule_id=schedule_id,
        schedule_name=name,
        schedule_version=version,
        due_at=due_at,
        ended_at=now,
    )
    return next(iter(insert(db.session.connection(), [skipped])), None)


def unskip_due(schedule_id: int, now: datetime) -> list[str]:
    """Delete the skipped runs of due times that have not come yet; gives their ids."""
    ahead = (Run.schedule_id == schedule_id, Run.due_at > now, Run.state == RunState.SKIPPED)
    rows = db.session.scalars(sa.select(Run).where(*ahead)).all()
    for row in rows:
        db.session.delete(row)
    return [row.id for row in rows]


def skipped_ahead(schedule_ids: list[int], now: datetime) -> dict[int, set[datetime]]:
    """The due times of these schedules that will be skipped."""
    if not schedule_ids:
        return {}
    found: dict[int, set[datetime]] = {}
    for schedule_id, due_at, state in db.session.execute(_AHEAD_OF, {"ids": schedule_ids, "now": now}):
        if schedule_id is not None and due_at is not None and state == RunState.SKIPPED:
            found.setdefault(schedule_id, set()).add(due_at)
    return found


# Few runs have a due time ahead, and the index by schedule leads to them; asked for the state too, SQLite would read
# every skipped run there is.
_AHEAD_OF = sa.select(Run.schedule_id, Run.due_at, Run.state).where(
    one_of(Run.schedule_id, sa.bindparam("ids", type_=Many())), Run.due_at > sa.bindparam("now")
)
