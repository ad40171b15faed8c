"""The list of schedules: one page of it, by name, with the last run of each. As quick with 100,000 as with 100."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from webapp.extensions import db
from webapp.runs.models import Run
from webapp.runs.skipping import skipped_ahead
from webapp.schedules.definition import Kind
from webapp.schedules.holding import Hold, hold_at, next_firing
from webapp.schedules.models import Owner
from webapp.schedules.pause_rows import tagged, unsettled
from webapp.schedules.pauses import Pause
from webapp.schedules.stored import DETAILS, DISCRIMINATORS, PROGRESS, TASKS, Stored, find_many

PAGE = 50
# How many runs of a schedule are drawn in its row.
STRIP = 60
STATUSES = ("enabled", "disabled", "paused", "broken")


@dataclass(frozen=True, slots=True)
class Filters:
    """What somebody looks for; an empty text is no wish."""

    q: str = ""
    status: str = ""
    kind: str = ""
    task: str = ""
    tag: str = ""
    owner: str = ""

    def given(self) -> dict[str, str]:
        """Those that are set, for addresses."""
        return {name: getattr(self, name) for name in self.__slots__ if getattr(self, name)}


@dataclass(frozen=True, slots=True)
class LastRun:
    """The last run of a schedule, or one of its last."""

    id: str
    state: str
    reason: str | None
    due_at: datetime | None
    created_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Listed:
    """One line of the list. `hold` is the pause of everything or of tags, or its own, that is on."""

    schedule: Stored
    last_run: LastRun | None
    states: Sequence[str]
    next_due_at: datetime | None
    hold: Hold | None = None


@dataclass(frozen=True, slots=True)
class SchedulePage:
    """One page in the order of names, and the names from which its neighbours go on; None where there is none."""

    rows: Sequence[Listed]
    before: str | None
    after: str | None


def page(  # what to look for, when, with which pauses
    filters: Filters,
    now: datetime,
    pauses: Sequence[Pause] = (),
    *,
    before: str = "",
    after: str = "",
    size: int = PAGE,
) -> SchedulePage:
    """The first page, or the one after or before a name. Five statements, whatever there is."""
    query, name = _matching(filters, now, pauses), TASKS.c.name
    if before:
        found = _ids(query.where(name < before).order_by(name.desc()).limit(size + 1))
        shown, first, last = found[:size], len(found) > size, True
    else:
        if after:
            query = query.where(name > after)
        found = _ids(query.order_by(name).limit(size + 1))
        shown, first, last = found[:size], bool(after), len(found) > size
    schedules = find_many(db.session, shown)
    rows = with_runs(schedules, now, pauses)
    if not rows:
        return SchedulePage([], None, None)
    return SchedulePage(rows, schedules[0].name if first else None, schedules[-1].name if last else None)


def matching_ids(filters: Filters, now: datetime, most: int) -> list[int]:
    """The numbers of all that match, at most so many, in the order of names."""
    pauses = unsettled(db.session) if filters.status in ("paused", "enabled") else []
    return _ids(_matching(filters, now, pauses).order_by(TASKS.c.name).limit(most))


def _matching(filters: Filters, now: datetime, pauses: Sequence[Pause]) -> sa.Select[Any]:
    """The numbers of the schedules that match; joins no more tables than that takes."""
    joined = TASKS.outerjoin(DETAILS, DETAILS.c.schedule_id == TASKS.c.id)
    if filters.status == "broken":
        joined = joined.outerjoin(PROGRESS, PROGRESS.c.schedule_id == TASKS.c.id)
    return sa.select(TASKS.c.id).select_from(joined).where(*conditions(filters, now, pauses))


def _ids(query: sa.Select[Any]) -> list[int]:
    return list(db.session.execute(query).scalars())


def conditions(filters: Filters, now: datetime, pauses: Sequence[Pause]) -> list[sa.ColumnElement[bool]]:
    """What rows must be to be listed."""
    found: list[sa.ColumnElement[bool]] = []
    if filters.q:
        found.append(_mentions(filters.q))
    if filters.kind in DISCRIMINATORS:
        found.append(TASKS.c.discriminator == DISCRIMINATORS[Kind(filters.kind)])
    if filters.task:
        found.append(TASKS.c.task == filters.task)
    if filters.tag:
        found.append(DETAILS.c.tags.contains(f'"{filters.tag}"', autoescape=True))
    if filters.owner in tuple(Owner):
        found.append(DETAILS.c.owner == filters.owner)
    return [*found, *_status(filters.status, now, pauses)]


def _mentions(text: str) -> sa.ColumnElement[bool]:
    """Whether name, task, description or tags have a text in them, whatever its case."""
    escaped = re.sub(r"([\\%_])", r"\\\1", text)
    columns = (TASKS.c.name, TASKS.c.task, TASKS.c.description, DETAILS.c.tags)
    # `ilike` is LIKE with lower() on both sides in SQLite, whose LIKE ignores the case of ASCII letters by itself.
    plain = text.isascii() and db.engine.dialect.name == "sqlite"
    pattern = f"%{escaped}%"
    return sa.or_(
        *(column.like(pattern, escape="\\") if plain else column.ilike(pattern, escape="\\") for column in columns)
    )


def _status(status: str, now: datetime, pauses: Sequence[Pause]) -> list[sa.ColumnElement[bool]]:
    own = DETAILS.c.paused_at.is_not(None) & (DETAILS.c.paused_until.is_(None) | (DETAILS.c.paused_until > now))
    paused = sa.or_(own, *(tagged(sorted(pause.tags)) for pause in pauses if pause.holds(now)))
    match status:
        case "enabled":
            return [TASKS.c.enabled.is_(True), sa.not_(sa.func.coalesce(paused, sa.false()))]
        case "disabled":
            return [TASKS.c.enabled.is_(False)]
        case "paused":
            return [paused]
        case "broken":
            return [PROGRESS.c.broken.is_not(None)]
        case _:
            return []


def any_schedule() -> bool:
    """Whether there is one at all."""
    return db.session.execute(sa.select(TASKS.c.id).limit(1)).first() is not None


def with_runs(schedules: Sequence[Stored], now: datetime, pauses: Sequence[Pause] = ()) -> list[Listed]:
    """Each schedule with its last run and its next due time."""
    ids = [schedule.id for schedule in schedules]
    runs, states, skipped = recent_runs(ids, now, 1), recent_states(ids, now), skipped_ahead(ids, now)
    return [
        Listed(
            schedule,
            next(iter(runs.get(schedule.id, [])), None),
            states.get(schedule.id, []),
            next_firing(schedule, now, pauses, skipped.get(schedule.id, set())),
            hold_at(schedule, now, pauses),
        )
        for schedule in schedules
    ]


def recent_runs(schedule_ids: Sequence[int], now: datetime, count: int) -> dict[int, list[LastRun]]:
    """The last runs of each schedule's due times, newest first: a short walk along an index for each, in one go."""
    if not schedule_ids:
        return {}
    columns = (Run.schedule_id, Run.id, Run.state, Run.reason, Run.due_at, Run.created_at, Run.started_at, Run.ended_at)
    found: dict[int, list[LastRun]] = {}
    for row in db.session.execute(_newest(columns, schedule_ids, now, count)):
        found.setdefault(row.schedule_id, []).append(LastRun(*row[1:]))
    return found


def recent_states(schedule_ids: Sequence[int], now: datetime, count: int = STRIP) -> dict[int, list[str]]:
    """The states of the last runs of each schedule's due times, newest first."""
    if not schedule_ids:
        return {}
    found: dict[int, list[str]] = {}
    for schedule_id, state in db.session.execute(_newest((Run.schedule_id, Run.state), schedule_ids, now, count)):
        found.setdefault(schedule_id, []).append(state)
    return found


def _newest(columns: Sequence[Any], schedule_ids: Sequence[int], now: datetime, count: int) -> Any:
    """A union keeps the order of each of its parts: one is read after the other.

    The index has (schedule, due time). A run by hand has no due time; one skipped beforehand lies in the future.
    """
    parts = []
    for schedule_id in schedule_ids:
        newest = sa.select(*columns).where(Run.schedule_id == schedule_id, Run.due_at <= now)
        parts.append(sa.select(newest.order_by(Run.due_at.desc()).limit(count).subquery()))
    return sa.union_all(*parts)


def runs_by_hand(schedule_id: int, count: int) -> list[LastRun]:
    """The last runs of a schedule that somebody asked for, newest first."""
    columns = (Run.id, Run.state, Run.reason, Run.due_at, Run.created_at, Run.started_at, Run.ended_at)
    asked = sa.select(*columns).where(Run.schedule_id == schedule_id, Run.due_at.is_(None))
    return [LastRun(*row) for row in db.session.execute(asked.order_by(Run.created_at.desc()).limit(count))]
