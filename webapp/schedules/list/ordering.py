"""The orders of the list of schedules, and pages along them: as quick with 100,000 schedules as with 100.

An order is a chain of segments, each of which lies along one index: those that have a next run come by its moment, then
those that have none by their names. A page goes on from an edge: a segment, and the values of its keys at a row.

What no index of the order answers (a filter, a search) is found in three steps:

1. look through a window of so many rows from the edge on, and through a wider one when that found some; most often that
   fills the page;
2. else what matches is rare: look for a limited number of matches in no order, by whatever index leads to them, and if
   that was all of them, order those (of a search, by the index of parts of three letters);
3. else walk along the order as far as it takes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.sql.visitors import iterate

from webapp.database.engine import UtcDateTime
from webapp.extensions import db
from webapp.schedule_store.pauses import Pause
from webapp.schedule_store.rows import DETAILS, PROGRESS, TASKS, WORDS
from webapp.schedule_store.status import BROKEN, FINE, OFF, ON, is_paused
from webapp.schedules.list.conditions import among, known, needs
from webapp.web.errors import Invalid
from webapp.web.parameters import LARGEST_ID

ORDER_WORDS = {"name": "name", "task": "task", "last": "last run", "next": "next run", "status": "status"}
ORDERS = tuple(ORDER_WORDS)
DIRECTIONS = ("up", "down")
WINDOW = 500
# A wider window is worth it where the first had so many.
WIDER, SOME = 5000, 5
RARE = 2000

Conditions = Sequence[sa.ColumnElement[bool]]


class Order(NamedTuple):
    """By what the list is ordered, and which way."""

    by: str = "name"
    down: bool = False

    def given(self) -> dict[str, str]:
        """The parameters for addresses; none for the default order."""
        if self == Order():
            return {}
        return {"sort": self.by, "direction": DIRECTIONS[self.down]}


class Edge(NamedTuple):
    """A place in an order: the segment, and the values of its keys at a row."""

    segment: int
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of an order: rows that meet the conditions, by the keys, which are columns of one table."""

    keys: tuple[sa.Column[Any], ...]
    down: bool = False
    where: Conditions = ()


class Found(NamedTuple):
    """The schedules of a page in their order, and where its neighbours go on; None where there is none."""

    ids: list[int]
    before: Edge | None
    after: Edge | None


def segments(order: Order, now: datetime, pauses: Sequence[Pause] = ()) -> list[Segment]:
    """The chain of an order. What has no moment comes last whichever way the moments go."""
    name = (TASKS.c.name,)
    paused = is_paused(now, pauses)
    match order.by:
        case "task":
            return [Segment((TASKS.c.task, TASKS.c.name), order.down)]
        case "last":
            last = PROGRESS.c.last_due_at
            return [
                Segment((last, PROGRESS.c.schedule_id), order.down, [known(last)]),
                Segment(name, where=[last.is_(None)]),
            ]
        case "next":
            due = PROGRESS.c.next_due_at
            # What is off, or paused, shows no moment that another program may have left.
            waits = known(due) & ON & ~paused
            return [
                Segment((due, PROGRESS.c.schedule_id), order.down, [waits]),
                Segment(name, where=[sa.or_(due.is_(None), OFF, paused)]),
            ]
        case "status":
            # Two by two where they stand close, because each segment is searched by itself.
            chain: list[Conditions] = [[ON, BROKEN], [ON, FINE, paused], [OFF], [ON, FINE, ~paused]]
            return [Segment(name, order.down, where) for where in (chain[::-1] if order.down else chain)]
        case _:
            return [Segment(name, order.down)]


def find(
    chain: Sequence[Segment],
    conditions: Conditions,
    edge: Edge | None,
    size: int,
    *,
    back: bool = False,
    hints: Conditions = (),
) -> Found:
    """The page after the edge, or before it (`back`), or the first one.

    `hints` follow from the conditions about words: what an index answers, where it is better not asked row by row.
    """
    begin = edge.segment if edge else 0
    search = _Search(conditions, hints)
    rows: list[tuple[int, Edge]] = []
    for place in range(begin, -1, -1) if back else range(begin, len(chain)):
        if _excluded(chain[place], conditions):
            continue
        beyond = edge.values if edge is not None and place == begin else None
        found = _along(chain[place], search, beyond, size + 1 - len(rows), back=back)
        rows += [(row[0], Edge(place, tuple(row[1:]))) for row in found]
        if len(rows) > size:
            break
    more, rows = len(rows) > size, rows[:size]
    if not rows:
        return Found([], None, None)
    if back:
        rows.reverse()
    has_before, has_after = (more, True) if back else (edge is not None, more)
    return Found([row[0] for row in rows], rows[0][1] if has_before else None, rows[-1][1] if has_after else None)


def _excluded(segment: Segment, conditions: Conditions) -> bool:
    """Whether a condition is the very opposite of what the segment's rows meet: there is nothing to look for."""
    return any(
        sa.not_(check).compare(asked) or sa.not_(asked).compare(check)
        for check in segment.where
        for asked in conditions
    )


def edge_text(order: Order, edge: Edge | None) -> str | None:
    """An edge for an address: in the order of names the name itself, else a JSON list."""
    if edge is None or order.by == "name":
        return None if edge is None else str(edge.values[0])
    values = [value.isoformat() if isinstance(value, datetime) else value for value in edge.values]
    return json.dumps([edge.segment, *values], ensure_ascii=False, separators=(",", ":"))


def parse_edge(order: Order, text: str, chain: Sequence[Segment]) -> Edge | None:
    """From an address; None for an empty text. Raises Invalid for what no page ever linked to."""
    if not text or order.by == "name":
        return Edge(0, (text,)) if text else None
    try:
        place, *values = json.loads(text)
        keys = chain[place].keys if isinstance(place, int) and place >= 0 else ()
        read = tuple(_key(key, value) for key, value in zip(keys, values, strict=True))
    except (ValueError, TypeError, IndexError, RecursionError):
        read = ()
    if not read:
        raise Invalid({"": "This page address is not valid."})
    return Edge(place, read)


def _key(key: sa.Column[Any], value: Any) -> Any:
    """The value of a key. Raises ValueError or TypeError for what cannot be one."""
    if isinstance(key.type, UtcDateTime):
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise ValueError("a moment needs a time zone")
        return moment
    if isinstance(key.type, sa.Integer):
        if not isinstance(value, int) or not 0 <= value <= LARGEST_ID:
            raise ValueError("no number of a schedule")
        return value
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError("a text is needed")
    return value


class _Search:
    """The conditions of a page, and who has the words of a search: looked for once, whatever the number of segments."""

    def __init__(self, conditions: Conditions, hints: Conditions) -> None:
        self.words = [check for check in conditions if WORDS in _tables([check])]
        self.others = [check for check in conditions if WORDS not in _tables([check])]
        self.found: list[int] | None = None
        # What those who have the words meet too, by an index.
        self.indexed = [*self.words, *hints]

    @property
    def everything(self) -> list[sa.ColumnElement[bool]]:
        """All conditions, row by row."""
        return [*self.others, *self.words]

    def look(self) -> None:
        """Look who has the words; keeps them, or one more than RARE."""
        if self.words and self.found is None:
            self.found = _few(sa.select(WORDS.c.schedule_id.label("number")).where(*self.indexed))

    @property
    def rare(self) -> bool:
        """Whether it is known that few have the words."""
        return self.found is not None and len(self.found) <= RARE

    @property
    def by_number(self) -> list[sa.ColumnElement[bool]]:
        """All conditions, with those who have the words by their numbers."""
        if not self.words:
            return self.others
        if self.found is not None and self.rare:
            return [*self.others, among(TASKS.c.id, self.found)]
        # The limit keeps a database from turning this into a look at the words of each row on the way. Who has them
        # does not depend on the row at hand, whose words may be another table of the query.
        who = sa.select(WORDS.c.schedule_id).where(*self.indexed).limit(2**31 - 1).correlate(None)
        return [*self.others, TASKS.c.id.in_(who)]


def _along(
    segment: Segment, search: _Search, beyond: tuple[Any, ...] | None, size: int, *, back: bool
) -> Sequence[Any]:
    """Rows of (id, *keys) of a segment that meet the conditions, from a place on; see the top of this module."""
    down = segment.down != back
    start = [] if beyond is None else [_past(segment.keys, beyond, down=down)]
    if not segment.where and not search.everything:
        return _rows(_ordered(segment.keys, start, down=down), size)
    if not search.rare:
        for window in (WINDOW, WIDER):
            found = _rows(_in_window(segment, [*segment.where, *search.everything], start, window, down=down), size)
            if len(found) == size:
                return found
            if len(found) < SOME:
                break
        search.look()
    checks = [*segment.where, *search.by_number]
    others = [*segment.where, *search.others]
    if others and not search.rare:
        ids = _few(matches([*others, *start]))
        if not ids:
            return []
        checks = [among(TASKS.c.id, ids), *search.words] if len(ids) <= RARE else checks
    return [] if search.found == [] else _rows(_ordered(segment.keys, [*checks, *start], down=down), size)


def matches(checks: Conditions) -> sa.Select[Any]:
    """Who meets the checks, in no order; from one table where one is enough."""
    if _tables(checks) == {DETAILS}:
        return sa.select(DETAILS.c.schedule_id.label("number")).where(*checks)
    return sa.select(TASKS.c.id.label("number")).select_from(_joined(checks)).where(*checks)


def _few(query: sa.Select[Any]) -> list[int]:
    """The numbers that a query finds, or one more than RARE. As one text: thousands of rows take longer to fetch."""
    found = query.limit(RARE + 1).subquery("few")
    joined = sa.func.aggregate_strings(sa.cast(found.c.number, sa.Text), ",")
    text = db.session.scalar(sa.select(joined))
    return [int(number) for number in text.split(",")] if text else []


def _rows(query: sa.Select[Any], size: int) -> Sequence[Any]:
    return db.session.execute(query.limit(size)).all()


def _ordered(keys: Sequence[sa.Column[Any]], checks: Conditions, *, down: bool) -> sa.Select[Any]:
    query = sa.select(TASKS.c.id, *keys).select_from(_joined([*checks, *keys])).where(*checks)
    return query.order_by(*_sorted(keys, down=down))


def _in_window(segment: Segment, checks: Conditions, start: Conditions, rows: int, *, down: bool) -> sa.Select[Any]:
    """What meets the checks within a window of rows, which only the order's own table is read for."""
    table = segment.keys[0].table
    number = table.c.id if table is TASKS else table.c.schedule_id
    # Where a key may be missing, its rows lie at one end of the index.
    there = [segment.keys[0].is_not(None)] if segment.keys[0].nullable else []
    columns = [key.label(f"key{place}") for place, key in enumerate(segment.keys)]
    inner = sa.select(number.label("number"), *columns).where(*there, *start)
    window = inner.order_by(*_sorted(segment.keys, down=down)).limit(rows).subquery("walked")
    keys = [window.c[column.name] for column in columns]
    joined = window.join(TASKS, TASKS.c.id == window.c.number)
    query = sa.select(window.c.number, *keys).select_from(_joined(checks, joined)).where(*checks)
    return query.order_by(*_sorted(keys, down=down))


def _sorted(keys: Sequence[Any], *, down: bool) -> list[Any]:
    return [key.desc() if down else key.asc() for key in keys]


def _past(keys: Sequence[sa.Column[Any]], values: tuple[Any, ...], *, down: bool) -> sa.ColumnElement[bool]:
    here: Any = sa.tuple_(*keys) if len(keys) > 1 else keys[0]
    there: Any = sa.tuple_(*values, types=[key.type for key in keys]) if len(keys) > 1 else values[0]
    past: sa.ColumnElement[bool] = here < there if down else here > there
    return past


def _joined(mentioned: Sequence[Any], joined: sa.FromClause = TASKS) -> sa.FromClause:
    """The tables that these conditions and columns are about, and no others."""
    tables = _tables(mentioned)
    for table in (WORDS, DETAILS):
        if table in tables:
            joined = joined.join(table, table.c.schedule_id == TASKS.c.id)
    if PROGRESS in tables:
        # A schedule that beat has not seen yet has none.
        outer = not needs(PROGRESS, mentioned)
        joined = joined.join(PROGRESS, PROGRESS.c.schedule_id == TASKS.c.id, isouter=outer)
    return joined


def _tables(mentioned: Sequence[Any]) -> set[Any]:
    return {part.table for one in mentioned for part in iterate(one) if isinstance(part, sa.Column)}
