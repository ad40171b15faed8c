"""Pausing everything or tags, and planning change windows: the only writer of `pauses` on the pages' side.

Each action writes one row, its audit and its revision, however many schedules it holds; after the commit beat is woken.
What has begun stays in the table as history; a window that has not begun can be deleted.
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
from webapp.schedule_store.stored import DETAILS, TASKS, Stored
from webapp.schedules import fields, service
from webapp.web.errors import Conflict, Invalid, NotFound
from webapp.web.formats import plural
from webapp.web.parameters import LARGEST_ID
from webapp.web.transactions import database_clock

LONGEST_REASON = 500
# How long before a change window begins every page says so.
NEAR = timedelta(hours=24)
HISTORY = 20
# Counting stops there.
MOST_COUNTED = 100_000

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
    """How many due times of how many schedules fell into a pause; at least so many, when it is `cut`."""

    runs: int
    schedules: int
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """The pauses that are on, the windows that are planned, and the last ones that are over."""

    active: Sequence[SchedulePause]
    planned: Sequence[SchedulePause]
    over: Sequence[SchedulePause]


def standing(now: datetime) -> Standing:
    """All of them, those of single schedules left out."""
    wide = sa.select(SchedulePause).where(SchedulePause.schedule_id.is_(None))
    open_ones = db.session.scalars(wide.where(*_open(now)).order_by(SchedulePause.starts_at)).all()
    over = wide.where(sa.not_(sa.and_(*_open(now)))).order_by(SchedulePause.id.desc()).limit(HISTORY)
    active = [row for row in open_ones if row.starts_at <= now]
    return Standing(active, [row for row in open_ones if row.starts_at > now], db.session.scalars(over).all())


def near(now: datetime, unsettled: Sequence[Pause] | None = None) -> list[Pause]:
    """What every page tells of: pauses that are on, and windows that begin within a day. One short statement."""
    pauses = pause_rows.unsettled(db.session) if unsettled is None else unsettled
    return [
        pause for pause in pauses if pause.schedule_id is None and not pause.over(now) and pause.starts_at <= now + NEAR
    ]


def get(pause_id: int) -> SchedulePause:
    """One of them. Raises NotFound."""
    row = db.session.get(SchedulePause, pause_id) if pause_id <= LARGEST_ID else None
    if row is None or row.schedule_id is not None:
        raise NotFound(f"There is no pause with the ID {pause_id}.")
    return row


def create(given: Mapping[str, Any], zone: ZoneInfo) -> SchedulePause:
    """Pause now, or plan a window. Moments without an offset are meant on the zone's clock.

    Raises Invalid at `tags`, `reason`, `from`, `until` or `on_resume`.
    """
    moment = database_clock()
    reader = _Reader(given, zone)
    tags = reader.read("tags", _tags)
    row = SchedulePause(starts_at=reader.start(moment), author=service.who(), created_at=moment)
    _read_rest(reader, row, moment)
    reader.check()
    row.tags = json.dumps(tags, ensure_ascii=False)
    db.session.add(row)
    db.session.flush()
    return _commit("create", row, None)


def update(pause_id: int, given: Mapping[str, Any], zone: ZoneInfo) -> SchedulePause:
    """Change a window that is planned; of a pause that is on only its reason, its end, and what comes after it.

    Raises Invalid, NotFound, and Conflict for one that is over.
    """
    row, moment = _locked(pause_id), database_clock()
    before = values(row)
    reader = _Reader({**_texts(row), **given}, zone)
    if row.starts_at > moment:
        row.tags = json.dumps(reader.read("tags", _tags) or [], ensure_ascii=False)
        row.starts_at = reader.start(moment)
    _read_rest(reader, row, moment)
    reader.check()
    return _commit("update", row, before)


def resume(pause_id: int, on_resume: str = "") -> SchedulePause:
    """End a pause that is on, and say what becomes of what came due; beat does that. Raises Conflict, Invalid."""
    choice = service.resume_choice(on_resume)
    row, moment = _locked(pause_id), database_clock()
    if row.starts_at > moment:
        raise Conflict("This change window has not started. Delete it instead.")
    before = values(row)
    row.ended_at, row.ended_by, row.on_resume = moment, service.who(), choice
    return _commit("resume", row, before)


def delete(pause_id: int) -> None:
    """Delete a window that has not begun. Raises NotFound, Conflict."""
    row, moment = _locked(pause_id), database_clock()
    if row.starts_at <= moment:
        raise Conflict("This pause has started. Resume it instead.")
    audit.record(db.session, "pause.delete", "pause", row.id, row.reason, values(row), None)
    db.session.delete(row)
    db.session.commit()
    broker.try_redis(lambda redis: wake(redis, "a change window was deleted"))


def meanwhile(pause_id: int) -> Meanwhile:
    """What came due during a pause so far, and did not run."""
    fell = sa.select(Run.schedule_id).where(Run.pause_id == pause_id, Run.state == RunState.SKIPPED)
    return _counted(fell.limit(MOST_COUNTED + 1).subquery())


def meanwhile_own(schedule: Stored) -> Meanwhile:
    """What came due during a schedule's own pause so far."""
    if not schedule.paused:
        return Meanwhile(0, 0)
    found = db.session.execute(sa.select(sa.func.count()).select_from(pause_rows.own_skipped(schedule.row).subquery()))
    count = int(found.scalar_one())
    return Meanwhile(count, min(count, 1), count == pause_rows.MOST_OF_ONE)


def concerned(tags: Sequence[str]) -> int:
    """How many enabled schedules a pause of these tags holds; of none: everything."""
    count = sa.select(sa.func.count()).select_from(TASKS.join(DETAILS, DETAILS.c.schedule_id == TASKS.c.id))
    return int(db.session.execute(count.where(TASKS.c.enabled.is_(True), pause_rows.tagged(tags))).scalar_one())


def values(row: SchedulePause) -> dict[str, Any]:
    """What it says, for the audit and for programs. Moments are ISO text in UTC."""
    return {
        "tags": json.loads(row.tags),
        "reason": row.reason,
        "from": iso(row.starts_at),
        "until": iso(row.ends_at) if row.ends_at else None,
        "on_resume": row.on_resume,
        "ended_at": iso(row.ended_at) if row.ended_at else None,
        "ended_by": row.ended_by,
    }


def _texts(row: SchedulePause) -> dict[str, Any]:
    told = values(row)
    return {**told, "scope": "tags" if told["tags"] else "everything"}


def _open(now: datetime) -> tuple[sa.ColumnElement[bool], ...]:
    return (SchedulePause.ended_at.is_(None), sa.or_(SchedulePause.ends_at.is_(None), SchedulePause.ends_at > now))


def _locked(pause_id: int) -> SchedulePause:
    """One that is not over, so that it cannot be settled meanwhile. Raises NotFound, Conflict."""
    get(pause_id)
    row = db.session.get_one(SchedulePause, pause_id, populate_existing=True, with_for_update=True)
    moment = database_clock()
    if row.ended_at is not None or (row.ends_at is not None and row.ends_at <= moment):
        raise Conflict("This pause has ended.")
    return row


def _commit(action: str, row: SchedulePause, before: dict[str, Any] | None) -> SchedulePause:
    audit.record(db.session, f"pause.{action}", "pause", row.id, row.reason, before, values(row))
    db.session.commit()
    # The database's trigger gave it its revision.
    db.session.refresh(row)
    revision = row.revision
    db.session.commit()
    broker.try_redis(lambda redis: wake(redis, str(revision)))
    return row


def _counted(fell: sa.Subquery) -> Meanwhile:
    query = sa.select(sa.func.count(), sa.func.count(fell.c.schedule_id.distinct()))
    runs, schedules = db.session.execute(query.select_from(fell)).one()
    return Meanwhile(min(runs, MOST_COUNTED), schedules, runs > MOST_COUNTED)


class _Reader:
    """Reads what was given and keeps what is wrong with it, by field."""

    def __init__(self, given: Mapping[str, Any], zone: ZoneInfo) -> None:
        self.given = given
        self.zone = zone
        self.errors: dict[str, str] = {}

    def read(self, name: str, how: Any) -> Any:
        try:
            return how(self.given)
        except fields.FieldError as error:
            self.errors[name] = str(error)
        return None

    def moment(self, name: str) -> datetime | None:
        if fields.empty(self.given.get(name)):
            return None
        found: datetime | None = self.read(name, lambda given: fields.moment(given[name], self.zone))
        return found

    def start(self, moment: datetime) -> datetime:
        """When it begins: now, unless something else is said. A picker gives minutes, so that now may be over a bit."""
        found = self.moment("from") or moment
        if found < moment - timedelta(minutes=1):
            self.errors.setdefault("from", "This time is in the past. Leave it empty to start now.")
        return max(found, moment)

    def check(self) -> None:
        if self.errors:
            db.session.rollback()
            raise Invalid(self.errors)


def _read_rest(reader: _Reader, row: SchedulePause, moment: datetime) -> None:
    row.reason = reader.read("reason", _reason) or ""
    row.ends_at = reader.moment("until")
    if row.ends_at is not None and row.ends_at <= max(row.starts_at, moment):
        reader.errors["until"] = "Choose an end after the start, not in the past."
    if row.starts_at > moment and row.ends_at is None:
        reader.errors.setdefault("until", "A change window needs an end.")
    try:
        row.on_resume = service.resume_choice(str(reader.given.get("on_resume") or ""))
    except Invalid as error:
        reader.errors |= error.fields


def _reason(given: Mapping[str, Any]) -> str:
    text = fields.line(given.get("reason") or "", most=LONGEST_REASON)
    if not text:
        raise fields.FieldError("Enter a reason. It is shown on every skipped run.")
    return text


def _tags(given: Mapping[str, Any]) -> list[str]:
    """The tags; none for everything, which has to be said."""
    scope = str(given.get("scope") or ("tags" if given.get("tags") else ""))
    if scope == "everything":
        return []
    found = fields.tags(given.get("tags") or "")
    if not found:
        raise fields.FieldError("Enter tags, or choose all schedules.")
    for tag in found:
        if not concerned([tag]):
            raise fields.FieldError(f"No enabled schedule has the tag “{tag}”.")
    return found


def told_scope(tags: Sequence[str]) -> str:
    """What a pause holds, as the beginning of a sentence."""
    if not tags:
        return "All schedules"
    return f"{'Tag' if len(tags) == 1 else 'Tags'} {', '.join(f'“{tag}”' for tag in sorted(tags))}"


def told_meanwhile(found: Meanwhile) -> str:
    """How much came due, in words."""
    if not found.runs:
        return "No runs came due during the pause."
    at_least = "More than " if found.cut else ""
    return f"{at_least}{plural(found.runs, 'run')} of {plural(found.schedules, 'schedule')} came due during the pause."


def told_caught_up(row: SchedulePause) -> str:
    """How many runs beat made for what came due, after a pause that is over, in words."""
    made = plural(row.caught_up, "run")
    if row.on_resume == Resume.SKIP:
        # Beat may hear of the end late: what came due since then runs whatever was chosen.
        return f"{made} that came due after it ended" if row.caught_up else "None: these runs are skipped"
    return made if row.settled_at else f"{made} so far, still catching up"
