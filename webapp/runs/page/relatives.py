"""The family of a run from the database: all runs of a small one, the nearest of a large one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from beatdesk.execution import canvas
from webapp.extensions import db
from webapp.run_store.models import Run
from webapp.run_store.states import UNENDED
from webapp.runs.page import family
from webapp.runs.page.family import MAX_DRAWN_RUNS, Branch, Member
from webapp.runs.page.family_drawing import Picture, draw

# Of a large family the ancestors, the neighbours in a group and the run's own calls come first.
ANCESTORS = 10
NEIGHBOURS = 30
CALLS = 20
# Some room is left for the bodies of their chords.
MAX_NEAREST_RUNS, MAX_MEASURED_GROUPS = 50, 10
# The count stops here.
MAX_COUNTED_RUNS = 1_000

_OPTIONS = sa.case((sa.func.length(Run.options) <= canvas.MAX_OPTIONS_LENGTH, Run.options)).label("options")
_COLUMNS = (Run.id, Run.task, Run.state, Run.parent_id, Run.group_id, Run.group_index, Run.created_at, _OPTIONS)


@dataclass(frozen=True, slots=True)
class Family:
    """The trees to be drawn. `left_out` is the number of further runs, or with `countless` the least that there are.

    `going_on` if a run is under way or to come.
    """

    root_id: str
    branches: list[Branch]
    left_out: int
    countless: bool
    going_on: bool

    @property
    def picture(self) -> Picture:
        """The drawing of them."""
        return draw(self.branches)


def family_of(run: Run) -> Family | None:
    """The family of a run, None if it has no relatives. A few queries, each along an index and bounded."""
    root_id = run.root_id or run.id
    eldest = _rows(Run.root_id == root_id, order=(Run.created_at, Run.id), limit=MAX_DRAWN_RUNS + 1)
    many = len(eldest) > MAX_DRAWN_RUNS
    chosen = [*_rows(Run.id.in_([run.id, root_id]), limit=2), *(_nearest(run) if many else ()), *eldest]
    members = {row.id: _member(row) for row in chosen}
    sizes: dict[str, int] = {}
    if many:
        members = dict(list(members.items())[:MAX_NEAREST_RUNS])
        bodies = list(family.chord_bodies(members.values()))
        members |= {row.id: _member(row) for row in _rows(Run.id.in_(bodies), limit=MAX_DRAWN_RUNS - MAX_NEAREST_RUNS)}
        sizes = _sizes(members.values())
    branches = family.tree(members.values(), sizes)
    drawn = family.members(branches)
    if len(drawn) < 2:
        return None
    # The root itself is not counted: it may have no root in its row.
    counted = _count(root_id) + 1 if many else len(members)
    going_on = any(member.state in UNENDED or not (member.state or member.never) for member in drawn)
    return Family(root_id, branches, max(counted - len(members), 0), counted > MAX_COUNTED_RUNS, going_on)


def _sizes(members: Iterable[Member]) -> dict[str, int]:
    """The sizes of these groups, from their highest index rather than by counting."""
    ids = list(dict.fromkeys(member.group_id for member in members if member.group_id))
    highest = sa.select(sa.func.max(Run.group_index))
    return {
        each: (db.session.scalar(highest.where(Run.group_id == each)) or 0) + 1 for each in ids[:MAX_MEASURED_GROUPS]
    }


def _nearest(run: Run) -> list[Any]:
    """The nearest relatives of a run, nearest first: ancestors, neighbours in its group, its calls."""
    found: list[Any] = []
    seen, parent_id = {run.id}, run.parent_id
    while parent_id and parent_id not in seen and len(found) < ANCESTORS:
        seen.add(parent_id)
        above = _rows(Run.id == parent_id, limit=1)
        found += above
        parent_id = above[0].parent_id if above else None
    if run.group_id and run.group_index is not None:
        near = (Run.group_id == run.group_id, Run.group_index >= run.group_index - NEIGHBOURS // 2)
        found += _rows(*near, order=(Run.group_index,), limit=NEIGHBOURS)
    found += _rows(Run.parent_id == run.id, limit=CALLS)
    return found


def _member(row: Any) -> Member:
    following = canvas.following(row.options)
    return Member(row.id, row.task, row.state, row.parent_id, row.group_id, row.group_index, row.created_at, following)


def _rows(*conditions: Any, order: Sequence[Any] = (), limit: int) -> Sequence[Any]:
    return db.session.execute(sa.select(*_COLUMNS).where(*conditions).order_by(*order).limit(limit)).all()


def _count(root_id: str) -> int:
    some = sa.select(Run.id).where(Run.root_id == root_id).limit(MAX_COUNTED_RUNS + 1).subquery()
    return int(db.session.scalar(sa.select(sa.func.count()).select_from(some)) or 0)
