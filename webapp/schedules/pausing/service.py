"""Global and tag pauses, and change windows. The only writer of `pauses` besides beat.

Each action writes one row, its audit and its revision, however many schedules it holds, and wakes beat after the
commit. A pause that has begun stays in the table as history; a change window that has not begun can be deleted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from webapp.extensions import db
from webapp.identity import audit
from webapp.messaging import broker
from webapp.messaging.beat_wakeup import wake
from webapp.run_store.models import Run
from webapp.run_store.states import RunState
from webapp.schedule_store import pause_rows
from webapp.schedule_store.definition import iso
from webapp.schedule_store.models import Resume, SchedulePause
from webapp.schedule_store.pauses import Pause
from webapp.schedule_store.rows import DETAILS, TASKS
from webapp.schedule_store.stored import Stored
from webapp.schedules import service
from webapp.schedules.bodies import Pausing
from webapp.web.bodies import read_values
from webapp.web.errors import Conflict, Invalid, NotFound
from webapp.web.formats import plural
from webapp.web.parameters import LARGEST_ID
from webapp.web.transactions import database_clock

# How long before a change window begins every page says so.
NEAR = timedelta(hours=24)
HISTORY_LENGTH = 20
# The limit of counting.
MAX_COUNTED = 100_000

RESUME_WORDS = {
    Resume.SKIP: "Skip them",
    Resume.ONCE: "Run each schedule once",
    Resume.ALL: "Run all of them within each schedule’s catch-up window",
    Resume.POLICY: "Follow each schedule’s setting for missed runs",
}
AFTERWARDS = {
    choice: "Runs continue as scheduled." if choice == Resume.SKIP else "Runs that came due during the pause start now."
    for choice in Resume
}


@dataclass(frozen=True, slots=True)
class Meanwhile:
    """How many due times of how many schedules fell into a pause. If `cut`, there are more."""

    runs: int
    schedules: int
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """The active pauses, the planned change windows, and the last pauses that are over."""

    active: Sequence[SchedulePause]
    planned: Sequence[SchedulePause]
    over: Sequence[SchedulePause]


def standing(now: datetime) -> Standing:
    """All global and tag pauses by their status."""
    wide = sa.select(SchedulePause).where(SchedulePause.schedule_id.is_(None))
    open_ones = db.session.scalars(wide.where(*_open(now)).order_by(SchedulePause.starts_at)).all()
    over = wide.where(sa.not_(sa.and_(*_open(now)))).order_by(SchedulePause.id.desc()).limit(HISTORY_LENGTH)
    active = [row for row in open_ones if row.starts_at <= now]
    return Standing(active, [row for row in open_ones if row.starts_at > now], db.session.scalars(over).all())


def near(now: datetime, unsettled: Sequence[Pause] | None = None) -> list[Pause]:
    """The pauses in the banner of every page: those in force, and windows that begin within a day."""
    pauses = pause_rows.unsettled(db.session) if unsettled is None else unsettled
    return [
        pause for pause in pauses if pause.schedule_id is None and not pause.over(now) and pause.starts_at <= now + NEAR
    ]


def get(pause_id: int) -> SchedulePause:
    """One global or tag pause. Raises NotFound."""
    row = db.session.get(SchedulePause, pause_id) if pause_id <= LARGEST_ID else None
    if row is None or row.schedule_id is not None:
        raise NotFound(f"There is no pause with the ID {pause_id}.")
    return row


def create(given: Mapping[str, Any], zone: ZoneInfo) -> SchedulePause:
    """Pause now, or plan a change window. Moments without an offset are local times in `zone`.

    Raises Invalid at `tags`, `reason`, `from`, `until` or `on_resume`.
    """
    moment = database_clock()
    wanted = read_values(Pausing, given, zone=zone, now=moment)
    _check_tags_in_use(wanted.tags)
    row = SchedulePause(starts_at=wanted.starts_at, author=service.author_name(), created_at=moment)
    _apply(row, wanted)
    db.session.add(row)
    db.session.flush()
    return _commit("create", row, None)


def update(pause_id: int, given: Mapping[str, Any], zone: ZoneInfo) -> SchedulePause:
    """Change a planned window; of an active pause only its reason, its end, and what happens after it.

    Raises Invalid, NotFound, and Conflict if it is over.
    """
    row, moment = _locked(pause_id), database_clock()
    before, planned = values(row), row.starts_at > moment
    own = {**before, "scope": "tags" if before["tags"] else "everything"}
    fixed = {} if planned else {**{name: own[name] for name in ("scope", "tags")}, "from": None}
    wanted = read_values(Pausing, {**own, **given, **fixed}, zone=zone, now=moment)
    if planned:
        _check_tags_in_use(wanted.tags)
        row.starts_at = wanted.starts_at
    _apply(row, wanted)
    return _commit("update", row, before)


def _apply(row: SchedulePause, wanted: Pausing) -> None:
    row.tags = json.dumps(wanted.tags, ensure_ascii=False)
    row.reason, row.ends_at, row.on_resume = wanted.reason, wanted.ends_at, wanted.on_resume


def resume(pause_id: int, on_resume: Resume = Resume.SKIP) -> SchedulePause:
    """End a pause that is on, and say what becomes of what came due; beat does that. Raises Conflict."""
    row, moment = _locked(pause_id), database_clock()
    if row.starts_at > moment:
        raise Conflict("This change window has not started. Delete it instead.")
    before = values(row)
    row.ended_at, row.ended_by, row.on_resume = moment, service.author_name(), on_resume
    return _commit("resume", row, before)


def delete(pause_id: int) -> None:
    """Delete a change window that has not begun. Raises NotFound, Conflict."""
    row, moment = _locked(pause_id), database_clock()
    if row.starts_at <= moment:
        raise Conflict("This pause has started. Resume it instead.")
    audit.record(db.session, "pause.delete", "pause", row.id, row.reason, values(row), None)
    db.session.delete(row)
    db.session.commit()
    broker.try_redis(lambda redis: wake(redis, "a change window was deleted"))


def meanwhile(pause_id: int) -> Meanwhile:
    """The skipped runs that came due during a pause so far."""
    fell = sa.select(Run.schedule_id).where(Run.pause_id == pause_id, Run.state == RunState.SKIPPED)
    return _counted(fell.limit(MAX_COUNTED + 1).subquery())


def meanwhile_own(schedule: Stored) -> Meanwhile:
    """The skipped runs that came due during a schedule's own pause so far."""
    if not schedule.paused:
        return Meanwhile(0, 0)
    found = db.session.execute(
        sa.select(sa.func.count()).select_from(pause_rows.skipped_by_own_pause(schedule.row).subquery())
    )
    count = int(found.scalar_one())
    return Meanwhile(count, min(count, 1), count == pause_rows.MAX_OWN_SKIPPED)


def concerned(tags: Sequence[str]) -> int:
    """How many enabled schedules a pause of these tags holds; without tags, all."""
    count = sa.select(sa.func.count()).select_from(TASKS.join(DETAILS, DETAILS.c.schedule_id == TASKS.c.id))
    return int(db.session.execute(count.where(TASKS.c.enabled.is_(True), pause_rows.tagged(tags))).scalar_one())


def values(row: SchedulePause) -> dict[str, Any]:
    """A pause as JSON values, for the audit and for programs. Moments are ISO 8601 text in UTC."""
    return {
        "tags": json.loads(row.tags),
        "reason": row.reason,
        "from": iso(row.starts_at),
        "until": iso(row.ends_at) if row.ends_at else None,
        "on_resume": row.on_resume,
        "ended_at": iso(row.ended_at) if row.ended_at else None,
        "ended_by": row.ended_by,
    }


def _open(now: datetime) -> tuple[sa.ColumnElement[bool], ...]:
    return (SchedulePause.ended_at.is_(None), sa.or_(SchedulePause.ends_at.is_(None), SchedulePause.ends_at > now))


def _locked(pause_id: int) -> SchedulePause:
    """A locked pause that is not over, so that beat cannot settle it meanwhile. Raises NotFound, Conflict."""
    get(pause_id)
    row = db.session.get_one(SchedulePause, pause_id, populate_existing=True, with_for_update=True)
    moment = database_clock()
    if row.ended_at is not None or (row.ends_at is not None and row.ends_at <= moment):
        raise Conflict("This pause has ended.")
    return row


def _commit(action: str, row: SchedulePause, before: dict[str, Any] | None) -> SchedulePause:
    audit.record(db.session, f"pause.{action}", "pause", row.id, row.reason, before, values(row))
    db.session.commit()
    # A trigger in the database has set the revision.
    db.session.refresh(row)
    revision = row.revision
    db.session.commit()
    broker.try_redis(lambda redis: wake(redis, str(revision)))
    return row


def _counted(fell: sa.Subquery) -> Meanwhile:
    query = sa.select(sa.func.count(), sa.func.count(fell.c.schedule_id.distinct()))
    runs, schedules = db.session.execute(query.select_from(fell)).one()
    return Meanwhile(min(runs, MAX_COUNTED), schedules, runs > MAX_COUNTED)


def _check_tags_in_use(tags: Sequence[str]) -> None:
    for tag in tags:
        if not concerned([tag]):
            raise Invalid({"tags": f"No enabled schedule has the tag “{tag}”."})


def scope_text(tags: Sequence[str]) -> str:
    """The scope of a pause, as the beginning of a sentence."""
    if not tags:
        return "All schedules"
    return f"{'Tag' if len(tags) == 1 else 'Tags'} {', '.join(f'“{tag}”' for tag in sorted(tags))}"


def meanwhile_text(found: Meanwhile) -> str:
    """How many runs came due during a pause, in words."""
    if not found.runs:
        return "No runs came due during the pause."
    at_least = "More than " if found.cut else ""
    return f"{at_least}{plural(found.runs, 'run')} of {plural(found.schedules, 'schedule')} came due during the pause."


def caught_up_text(row: SchedulePause) -> str:
    """How many runs beat has caught up after a pause, in words."""
    made = plural(row.caught_up, "run")
    if row.on_resume == Resume.SKIP:
        # Beat may learn of the end late: runs due after it are executed whatever was chosen.
        return f"{made} that came due after it ended" if row.caught_up else "None: these runs are skipped"
    return made if row.settled_at else f"{made} so far, still catching up"
