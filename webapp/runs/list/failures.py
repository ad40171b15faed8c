"""Failures grouped by task, exception and place in the code, so that a repeated failure is one row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from urllib.parse import quote

import sqlalchemy as sa

from webapp.database.dialects import tail
from webapp.extensions import db
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


@dataclass
class Group:
    """One kind of failure. `bars` counts them over the span, oldest first."""

    task: str
    exception: str
    place: str
    example: str
    run_id: str
    count: int = 0
    first: datetime | None = None
    last: datetime | None = None
    bars: list[int] = field(default_factory=lambda: [0] * BARS)

    @property
    def query(self) -> str:
        """The search that finds its runs, as a part of an address."""
        return quote(f'task:"{self.task}" "{self.exception}"')


@dataclass(frozen=True, slots=True)
class Failures:
    """The groups, most frequent first; `more` when not all failures of the span were read."""

    groups: list[Group]
    more: bool


def grouped(span: timedelta, now: datetime) -> Failures:
    """The failures of the span, along the index of failed runs."""
    query = (
        sa.select(
            Run.id, Run.task, Run.error, Run.created_at, tail(Run.traceback, TRACEBACK_TAIL_LENGTH).label("traceback")
        )
        .where(Run.state == RunState.FAILED, Run.created_at > now - span)
        .order_by(Run.created_at.desc(), Run.id.desc())
        .limit(MAX_FAILURES + 1)
    )
    rows = list(db.session.execute(query))
    groups: dict[tuple[str, str, str], Group] = {}
    for row in rows[:MAX_FAILURES]:
        exception = (row.error or "unknown").partition(":")[0].strip()[:80].replace('"', "")
        key = (row.task, exception, tracebacks.place(row.traceback or ""))
        group = groups.setdefault(key, Group(*key, example=(row.error or "")[:200], run_id=row.id))
        group.count += 1
        group.last = group.last or row.created_at
        group.first = row.created_at
        age = (now - row.created_at) / span
        group.bars[min(max(BARS - 1 - int(age * BARS), 0), BARS - 1)] += 1
    ordered = sorted(groups.values(), key=lambda group: -group.count)
    return Failures(ordered, len(rows) > MAX_FAILURES)
