"""Failures grouped by task, exception and place in the code, so that a repeated failure is one row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import quote

import sqlalchemy as sa

from webapp.database.dialects import many, one_of, tail
from webapp.extensions import db
from webapp.run_store.failure_models import EXCEPTION_LENGTH
from webapp.run_store.models import Run
from webapp.run_store.states import RunState
from webapp.runs.page import tracebacks

# How many of the newest failures are grouped.
MAX_FAILURES = 2_000
# The bars of a group's sparkline, from the oldest to now.
BARS = 24
SPANS: Mapping[str, timedelta] = {"1h": timedelta(hours=1), "24h": timedelta(days=1), "7d": timedelta(days=7)}
# The end of a traceback names the place of the failure; the beginning may be long.
TRACEBACK_TAIL_LENGTH = 4_000
PLACE_LENGTH = 255


class Kind(NamedTuple):
    """What failures of one group have in common."""

    task: str
    exception: str
    place: str


class Failed(NamedTuple):
    """A failed run, and when a later run made it good: a retry of it, or the next good run of its schedule."""

    run_id: str
    at: datetime
    good_at: datetime | None


@dataclass
class Group:
    """One kind of failure; its runs are newest first. `bars` counts them over the span, oldest first."""

    kind: Kind
    example: str
    runs: list[Failed] = field(default_factory=list)
    bars: list[int] = field(default_factory=lambda: [0] * BARS)

    @property
    def first(self) -> datetime:
        """When it failed first in the span."""
        return self.runs[-1].at

    @property
    def last(self) -> datetime:
        """When it failed last."""
        return self.runs[0].at

    @property
    def query(self) -> str:
        """The search that finds its runs, as a part of an address."""
        return quote(f'task:"{self.kind.task}" "{self.kind.exception}"')


@dataclass(frozen=True, slots=True)
class Failures:
    """The groups, the one that failed last first; `more` when not all failures of the span were read."""

    groups: list[Group]
    more: bool


def grouped(span: timedelta, until: datetime) -> Failures:
    """The failures of the span that ends at a moment, along the index of failed runs."""
    columns = (Run.id, Run.task, Run.error, Run.created_at, Run.schedule_id)
    query = (
        sa.select(*columns, tail(Run.traceback, TRACEBACK_TAIL_LENGTH).label("traceback"))
        .where(Run.state == RunState.FAILED, Run.created_at > until - span, Run.created_at <= until)
        .order_by(Run.created_at.desc(), Run.id.desc())
        .limit(MAX_FAILURES + 1)
    )
    rows = list(db.session.execute(query))
    shown = rows[:MAX_FAILURES]
    good = _made_good(shown)
    groups: dict[Kind, Group] = {}
    for row in shown:
        kind = _kind(row.task, row.error or "unknown", row.traceback or "")
        group = groups.setdefault(kind, Group(kind, example=(row.error or "It failed without an error.")[:400]))
        group.runs.append(Failed(row.id, row.created_at, good.get(row.id)))
        age = (until - row.created_at) / span
        group.bars[min(max(BARS - 1 - int(age * BARS), 0), BARS - 1)] += 1
    return Failures(list(groups.values()), len(rows) > MAX_FAILURES)


def _kind(task: str, error: str, traceback: str) -> Kind:
    # Without quotes, for the search, and with no blank that a form would change on its way.
    words = error.partition(":")[0].replace('"', "").split()
    exception = " ".join(words)[:EXCEPTION_LENGTH].rstrip() or "unknown"
    return Kind(task, exception, tracebacks.place(traceback)[:PLACE_LENGTH])


def _made_good(failed: Iterable[Any]) -> dict[str, datetime]:
    """When each of these runs, newest first, was made good; what was not is absent."""
    rows = list(failed)
    if not rows:
        return {}
    schedules = _last_good({row.schedule_id for row in rows if row.schedule_id is not None}, rows[-1].created_at)
    retries: dict[str | None, list[Any]] = {}
    columns = (Run.retry_of, Run.id, Run.state, Run.created_at)
    query = sa.select(*columns).where(one_of(Run.retry_of, many([row.id for row in rows])))
    for retry in db.session.execute(query):
        retries.setdefault(retry.retry_of, []).append(retry)
    good: dict[str, datetime] = {}
    # A retry is newer than what it retries, so that it is known already whether one that failed was made good.
    for row in rows:
        found = [retry.created_at for retry in retries.get(row.id, []) if retry.state == RunState.SUCCEEDED]
        found += [good[retry.id] for retry in retries.get(row.id, []) if retry.id in good]
        if (at := schedules.get(row.schedule_id)) is not None and at > row.created_at:
            found.append(at)
        if found:
            good[row.id] = min(found)
    return good


def _last_good(schedule_ids: Iterable[int], since: datetime) -> dict[int, datetime]:
    """When the newest good run of each of these schedules was made, where that was after a moment."""
    newest = sa.func.max(Run.created_at, type_=Run.created_at.type)
    query = (
        sa.select(Run.schedule_id, newest)
        .where(Run.schedule_id.in_(sorted(schedule_ids)), Run.created_at > since, Run.state == RunState.SUCCEEDED)
        .group_by(Run.schedule_id)
    )
    return {schedule_id: at for schedule_id, at in db.session.execute(query) if schedule_id is not None}
