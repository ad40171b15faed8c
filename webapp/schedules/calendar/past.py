"""Past due times: the runs of schedules by state, within a bounded number of rows."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from webapp.database.dialects import minute_of
from webapp.extensions import db
from webapp.run_store.models import Run
from webapp.run_store.states import RunState
from webapp.schedules.calendar.grid import Hour
from webapp.schedules.list import listing
from webapp.schedules.list.cached_counts import cached
from webapp.schedules.list.listing import Filters

# How many runs are read, in the order of their creation.
MAX_RUNS = 10_000
# How many runs are read that were skipped before the day began.
MAX_SKIPPED_BEFORE = 2_000
_COLUMNS = (Run.schedule_id, Run.schedule_name, Run.due_at, Run.state)

# The number of runs by state; None if there are too many to count.
ByState = Mapping[str, int] | None


@dataclass(slots=True)
class PastRuns:
    """The past runs of a schedule within a span, counted by state. `name` is its name at that time."""

    schedule_id: int
    name: str
    states: Counter[str]

    @property
    def fine(self) -> bool:
        """Whether all runs succeeded."""
        return set(self.states) == {RunState.SUCCEEDED}


def state_counts_text(states: Mapping[str, int]) -> str:
    """The counts of runs that did not succeed, by state; "succeeded" if all did."""
    others = [state for state in RunState if state != RunState.SUCCEEDED and states.get(state)]
    return ", ".join(f"{states[state]:,} {state}" for state in others) or RunState.SUCCEEDED.value


def by_hour(hours: Sequence[Hour], filters: Filters, now: datetime) -> dict[int, ByState]:
    """The runs of each of these hours that has begun, by the hour's beginning (epoch seconds)."""
    starts = sorted(hour.start for hour in hours if hour.start <= now.timestamp())
    if not starts:
        return {}
    return cached(("hours", tuple(starts), filters), lambda: _by_hour(starts, filters, now))


def _by_hour(starts: Sequence[int], filters: Filters, now: datetime) -> dict[int, ByState]:
    since = datetime.fromtimestamp(starts[0], UTC)
    newest = _walk(since).order_by(Run.created_at.desc(), Run.id.desc())
    runs = _due(newest, since, now, filters)
    # Grouped by minute: fetching one row for each of thousands of due times takes longer than finding them.
    grouped = sa.select(minute_of(runs.c.due_at).label("minute"), runs.c.state).subquery()
    query = sa.select(grouped, sa.func.count()).group_by(*grouped.c)
    found: dict[int, Counter[str]] = {start: Counter() for start in starts}
    for text, state, count in db.session.execute(query):
        due = datetime.fromisoformat(text).replace(tzinfo=UTC)
        found[starts[bisect_right(starts, due.timestamp()) - 1]][state] += count
    last = newest.with_only_columns(Run.created_at).offset(MAX_RUNS - 1).limit(1)
    reached = db.session.scalar(last)
    return {start: found[start] if reached is None or start > reached.timestamp() else None for start in starts}


def within(start: int, end: int, filters: Filters, now: datetime) -> list[PastRuns]:
    """The schedules with runs due from `start` to before `end` (epoch seconds), those with problems first."""
    since, until = (datetime.fromtimestamp(instant, UTC) for instant in (start, end))
    oldest = _walk(since).order_by(Run.created_at, Run.id)
    runs = _due(oldest, since, min(until - timedelta.resolution, now), filters)
    grouped = (runs.c.schedule_id, runs.c.state)
    query = sa.select(*grouped, sa.func.max(runs.c.schedule_name), sa.func.count()).group_by(*grouped)
    found: dict[int, PastRuns] = {}
    for schedule_id, state, name, count in db.session.execute(query):
        of_schedule = found.setdefault(schedule_id, PastRuns(schedule_id, name or f"#{schedule_id}", Counter()))
        of_schedule.states[state] += count
    return sorted(found.values(), key=lambda one: (one.fine, one.name.casefold(), one.schedule_id))


def _walk(since: datetime) -> sa.Select[*tuple[Any, ...]]:
    return sa.select(*_COLUMNS).where(Run.created_at >= since).limit(MAX_RUNS)


def _due(walk: sa.Select[*tuple[Any, ...]], since: datetime, until: datetime, filters: Filters) -> sa.Subquery:
    """The runs of a walk that were due from `since` up to `until`, with those skipped long before."""
    before = sa.select(*_COLUMNS).where(Run.state == RunState.SKIPPED, Run.created_at < since)
    before = before.order_by(Run.created_at.desc(), Run.id.desc()).limit(MAX_SKIPPED_BEFORE)
    both = sa.union_all(sa.select(walk.subquery()), sa.select(before.subquery())).subquery()
    chosen = sa.select(both).where(both.c.due_at >= since, both.c.due_at <= until, both.c.schedule_id.is_not(None))
    if filters.given():
        chosen = chosen.where(both.c.schedule_id.in_(listing.select_matching(filters, until)))
    return chosen.subquery()
