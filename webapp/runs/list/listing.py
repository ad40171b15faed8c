"""Pages of runs, newest first, and how many there are of each state: quick however many runs are kept.

A page goes along one index from an edge. What no index answers is checked row by row within a window of `WINDOW_SIZE`
runs from that edge; where the window ends before the page is full, the page says so and links to the rest. Counts stop
at a limit for the same reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from webapp.extensions import db
from webapp.run_store.models import Run
from webapp.run_store.states import RunState
from webapp.runs.list.conditions import Plan, plan
from webapp.runs.list.matching import matcher
from webapp.runs.list.search import Search
from webapp.web.errors import Invalid

PAGE_SIZE = 50
WINDOW_SIZE = 4_000
MAX_CANDIDATES = 500
MAX_COUNTED = 1_000
# How far an action on all matching runs searches.
MAX_WINDOWS = 50

# The columns that a row of the list shows or is searched by, without results and tracebacks, which may be large.
_COLUMNS = tuple(
    getattr(Run, name)
    for name in (
        "id", "task", "args", "kwargs", "queue", "state", "reason", "origin", "schedule_id", "schedule_name",
        "due_at", "created_at", "eta", "started_at", "ended_at", "worker", "error", "attempt", "root_id",
    )
)  # fmt: skip
_KEYS = (Run.created_at, Run.id)


@dataclass(frozen=True, slots=True)
class Edge:
    """The position in the order of (created_at, id) at which a page begins or ends."""

    at: datetime
    run_id: str

    def __str__(self) -> str:
        return f"{self.at:%Y%m%dT%H%M%S.%f}Z.{self.run_id}"

    @classmethod
    def parse(cls, text: str) -> Edge | None:
        """From an address; None for an empty text. Raises Invalid for anything that no page has linked to."""
        if not text:
            return None
        moment, _, run_id = text.partition("Z.")
        try:
            at = datetime.strptime(f"{moment}+0000", "%Y%m%dT%H%M%S.%f%z")
        except ValueError:
            raise Invalid({"": "This is not a valid page of the list of runs."}) from None
        if len(run_id) > 36 or not run_id.isprintable():
            raise Invalid({"": "This is not a valid page of the list of runs."})
        return cls(at, run_id)

    @classmethod
    def of(cls, row: Any) -> Edge:
        """The edge at a row."""
        return cls(row.created_at, row.id)


@dataclass(frozen=True, slots=True)
class RunPage:
    """Rows, newest first, and the edges of the pages beside it; `searched_to` is set where the window ended early."""

    rows: Sequence[Any] = ()
    newer: Edge | None = None
    older: Edge | None = None
    searched_to: datetime | None = None


@dataclass(frozen=True, slots=True)
class Counts:
    """Numbers of runs by state. `at_least` are the states of which there are more than were counted."""

    by_state: dict[RunState, int] = field(default_factory=dict)
    at_least: frozenset[RunState] = frozenset()

    def text(self, state: RunState) -> str:
        """As people read it: "12", "1,000+"."""
        return f"{self.by_state.get(state, 0):,}{'+' if state in self.at_least else ''}"

    @property
    def total(self) -> str:
        """All states together, as people read it."""
        return f"{sum(self.by_state.values()):,}{'+' if self.at_least else ''}"


@dataclass(frozen=True, slots=True)
class _Found:
    rows: list[Any]
    # Where the window ended, when it ended before the page was full.
    stopped: Edge | None


def page(
    search: Search, now: datetime, *, before: Edge | None = None, after: Edge | None = None, top: Edge | None = None
) -> RunPage:
    """The page that is older than `before`, or newer than `after`, or begins with the row `top`; else the newest one.

    With `top` a refresh shows the same page as it is now.
    """
    if after is not None and top is None:
        return _newer_page(search, now, after)
    found = _find(search, now, top or before, newer=False, inclusive=top is not None)
    rows = found.rows[:PAGE_SIZE]
    older = Edge.of(rows[-1]) if len(found.rows) > PAGE_SIZE else found.stopped
    newer = None if before is None or top is not None else Edge.of(rows[0]) if rows else before
    return RunPage(rows, newer, older, found.stopped.at if found.stopped else None)


def _newer_page(search: Search, now: datetime, after: Edge) -> RunPage:
    found = _find(search, now, after, newer=True)
    if len(found.rows) <= PAGE_SIZE and found.stopped is None:
        # The newest page is always a full one.
        return page(search, now)
    rows = found.rows[:PAGE_SIZE][::-1]
    newer = Edge.of(rows[0]) if len(found.rows) > PAGE_SIZE else found.stopped
    return RunPage(rows, newer, Edge.of(rows[-1]) if rows else after)


def newer_count(search: Search, now: datetime, top: Edge, limit: int = 100) -> int:
    """How many matching runs are newer than `top`; stops counting at `limit`."""
    found = _find(search, now, top, newer=True, size=limit)
    return len(found.rows)


def _find(
    search: Search,
    now: datetime,
    edge: Edge | None,
    *,
    newer: bool,
    size: int = PAGE_SIZE + 1,
    inclusive: bool = False,
    chosen_columns: Sequence[Any] = _COLUMNS,
) -> _Found:
    """Up to `size` rows from the edge on, towards newer or older ones; with the edge itself when `inclusive`."""
    chosen = plan(search, now)
    order = (Run.created_at.asc(), Run.id.asc()) if newer else (Run.created_at.desc(), Run.id.desc())
    walk = (
        sa.select(*_COLUMNS).where(*chosen.leading, *_beyond(edge, newer=newer, inclusive=inclusive)).order_by(*order)
    )
    if not chosen.rest:
        return _Found(list(db.session.execute(walk.with_only_columns(*chosen_columns).limit(size))), None)
    window = walk.limit(WINDOW_SIZE).subquery()
    columns = window.c
    ordered = (columns.created_at.asc(), columns.id.asc()) if newer else (columns.created_at.desc(), columns.id.desc())
    query = sa.select(*(columns[column.key] for column in chosen_columns))
    query = query.where(*(check(columns) for check in chosen.rest)).order_by(*ordered)
    limit = MAX_CANDIDATES if search.arguments else size
    candidates = list(db.session.execute(query.limit(limit)))
    rows = list(filter(matcher(search.arguments), candidates))[:size] if search.arguments else candidates
    if len(rows) >= size:
        return _Found(rows, None)
    if len(candidates) == limit:
        return _Found(rows, Edge.of(candidates[-1]))
    last = walk.with_only_columns(Run.created_at, Run.id).offset(WINDOW_SIZE - 1).limit(1)
    end = db.session.execute(last).first()
    return _Found(rows, Edge.of(end) if end else None)


def _beyond(edge: Edge | None, *, newer: bool, inclusive: bool) -> list[sa.ColumnElement[bool]]:
    if edge is None:
        return []
    here = sa.tuple_(Run.created_at, Run.id)
    there = sa.tuple_(sa.bindparam(None, edge.at, Run.created_at.type), sa.literal(edge.run_id))
    if inclusive:
        return [here >= there if newer else here <= there]
    return [here > there if newer else here < there]


def counts(search: Search, now: datetime) -> Counts:
    """How many runs of each state the search finds, whatever state it names."""
    everything = replace(search, states=())
    chosen = plan(everything, now)
    if not chosen.rest and (everything.empty or everything == Search(since=everything.since)):
        return _counts_by_index(chosen)
    return _counts_in_window(chosen, everything)


def counted_by_state(limit: int | None, *conditions: sa.ColumnElement[bool]) -> dict[RunState, int]:
    """How many runs there are of each state, along its index; counting stops at `limit` for each, if there is one."""
    return counted_in_states(limit, dict.fromkeys(RunState, conditions))


def counted_in_states(
    limit: int | None, conditions: Mapping[RunState, Sequence[sa.ColumnElement[bool]]]
) -> dict[RunState, int]:
    """The same with conditions of its own for each state, at least one."""
    parts = []
    for state, some in conditions.items():
        rows = sa.select(sa.literal(1)).where(Run.state == state.value, *some).limit(limit)
        parts.append(sa.select(sa.func.count()).select_from(rows.subquery()).scalar_subquery())
    return dict(zip(conditions, db.session.execute(sa.select(*parts)).one(), strict=True))


def _counts_by_index(chosen: Plan) -> Counts:
    found = counted_by_state(MAX_COUNTED + 1, *chosen.leading)
    return Counts(
        {state: min(number, MAX_COUNTED) for state, number in found.items()},
        frozenset(state for state, number in found.items() if number > MAX_COUNTED),
    )


def _counts_in_window(chosen: Plan, search: Search) -> Counts:
    walk = sa.select(*_COLUMNS).where(*chosen.leading).order_by(Run.created_at.desc(), Run.id.desc()).limit(WINDOW_SIZE)
    window = walk.subquery()
    checks = [check(window.c) for check in chosen.rest]
    last = walk.with_only_columns(Run.id).offset(WINDOW_SIZE - 1).limit(1)
    more = db.session.execute(last).first() is not None
    if search.arguments:
        # As on a page: rows that the database finds are then matched in Python, up to a limit.
        query = sa.select(*(window.c[name] for name in ("state", "task", "args", "kwargs"))).where(*checks)
        newest = query.order_by(window.c.created_at.desc(), window.c.id.desc()).limit(MAX_CANDIDATES)
        candidates = db.session.execute(newest).all()
        more = more or len(candidates) == MAX_CANDIDATES
        found = Counter(RunState(row.state) for row in filter(matcher(search.arguments), candidates))
    else:
        by_state = sa.select(window.c.state, sa.func.count()).where(*checks).group_by(window.c.state)
        found = Counter({RunState(state): number for state, number in db.session.execute(by_state)})
    return Counts(found, frozenset(RunState) if more else frozenset())


def matching(search: Search, now: datetime, top: Edge | None, limit: int) -> list[Any]:
    """The matching rows from `top` on, newest first, up to `limit` rows and `MAX_WINDOWS` windows."""
    rows: list[Any] = []
    edge, inclusive = top, True
    for _ in range(MAX_WINDOWS):
        found = _find(search, now, edge, newer=False, size=limit - len(rows), inclusive=inclusive)
        rows.extend(found.rows)
        if len(rows) >= limit or found.stopped is None:
            break
        edge, inclusive = found.stopped, False
    return rows


def walk(search: Search, now: datetime, batch: int = 500) -> Iterator[str]:
    """The ids of all matching runs, newest first; each batch is read by a short transaction of its own."""
    edge: Edge | None = None
    columns = _COLUMNS if search.arguments else _KEYS
    while True:
        found = _find(search, now, edge, newer=False, size=batch, chosen_columns=columns)
        db.session.rollback()
        yield from (row.id for row in found.rows)
        if found.stopped is not None:
            edge = found.stopped
        elif len(found.rows) == batch:
            edge = Edge.of(found.rows[-1])
        else:
            return
