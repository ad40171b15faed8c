"""The list of schedules: a page of it, in some order, with the last run of each. As quick with 100,000 as with 100."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from webapp.extensions import db
from webapp.runs.skipping import skipped_ahead
from webapp.schedules.definition import Kind
from webapp.schedules.models import Owner
from webapp.schedules.ordering import WORDS, Order, edge_text, find, is_paused, parse_edge, segments
from webapp.schedules.recent import LastRun, recent_runs, recent_states
from webapp.schedules.stored import DETAILS, DISCRIMINATORS, PROGRESS, TASKS, Stored, find_many
from webapp.text_search import mentions_folded

PAGE = 50
NAMES = Order()
INSTANT = timedelta(microseconds=1)
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
class Listed:
    """One line of the list."""

    schedule: Stored
    last_run: LastRun | None
    states: Sequence[str]
    next_due_at: datetime | None


@dataclass(frozen=True, slots=True)
class SchedulePage:
    """One page, and the edges from which its neighbours go on, as text; None where there is none."""

    rows: Sequence[Listed]
    before: str | None
    after: str | None


def page(
    filters: Filters, now: datetime, *, order: Order = NAMES, before: str = "", after: str = "", size: int = PAGE
) -> SchedulePage:
    """The first page, or the one after or before an edge. Raises Invalid for an edge that no page has named."""
    chain = segments(order, now)
    edge = parse_edge(order, before or after, chain)
    found = find(chain, conditions(filters, now), edge, size, back=bool(before))
    if not found.ids:
        return SchedulePage([], None, None)
    schedules = {schedule.id: schedule for schedule in find_many(db.session, found.ids)}
    # One that was deleted in between is left out.
    rows = with_runs([schedules[number] for number in found.ids if number in schedules], now)
    return SchedulePage(rows, edge_text(order, found.before), edge_text(order, found.after))


def matching_ids(filters: Filters, now: datetime, most: int) -> list[int]:
    """The numbers of all that match, at most so many, in the order of names."""
    return find(segments(NAMES, now), conditions(filters, now), None, most).ids


def conditions(filters: Filters, now: datetime) -> list[sa.ColumnElement[bool]]:
    """What rows must be to be listed."""
    found: list[sa.ColumnElement[bool]] = []
    if filters.q:
        found.append(mentions_folded(WORDS.c.words, filters.q))
    if filters.kind in DISCRIMINATORS:
        found.append(TASKS.c.discriminator == DISCRIMINATORS[Kind(filters.kind)])
    if filters.task:
        found.append(TASKS.c.task == filters.task)
    if filters.tag:
        found.append(DETAILS.c.tags.contains(f'"{filters.tag}"', autoescape=True))
    if filters.owner in tuple(Owner):
        found.append(DETAILS.c.owner == filters.owner)
    return [*found, *_status(filters.status, now)]


def _status(status: str, now: datetime) -> list[sa.ColumnElement[bool]]:
    paused = is_paused(now)
    match status:
        case "enabled":
            return [TASKS.c.enabled.is_(True), sa.not_(paused)]
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


def with_runs(schedules: Sequence[Stored], now: datetime) -> list[Listed]:
    """Each schedule with its last run and its next due time."""
    if not schedules:
        return []
    ids = [schedule.id for schedule in schedules]
    runs, states, skipped = recent_runs(ids, now, 1), recent_states(ids, now), skipped_ahead(ids, now)
    return [
        Listed(
            schedule,
            next(iter(runs.get(schedule.id, [])), None),
            states.get(schedule.id, []),
            next_due(schedule, now, skipped.get(schedule.id, set())),
        )
        for schedule in schedules
    ]


def next_due(schedule: Stored, now: datetime, skipped: Collection[datetime] = ()) -> datetime | None:
    """When it fires next: what beat says while it is not in the past, else computed. None when nothing will fire."""
    if not schedule.row.enabled or schedule.row.broken:
        return None
    if schedule.paused_at_moment(now):
        until: datetime | None = schedule.row.paused_until
        first = schedule.due_times(until - INSTANT, 1) if until else []
        return first[0].utc if first else None
    told: datetime | None = schedule.row.next_due_at
    if told is not None and told > now and told not in skipped:
        return told
    found = [due.utc for due in schedule.due_times(now, 1 + len(skipped)) if due.utc not in skipped]
    return found[0] if found else None
