"""The last runs of many schedules in one statement, each read by its index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

import sqlalchemy as sa

from webapp.database.dialects import is_sqlite
from webapp.database.engine import array_literal
from webapp.extensions import db
from webapp.run_store.models import Run

# How many runs the strip in a schedule's row shows.
STRIP_LENGTH = 60


@dataclass(frozen=True, slots=True)
class LastRun:
    """One of the last runs of a schedule."""

    id: str
    state: str
    reason: str | None
    due_at: datetime | None
    created_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None


_COLUMNS = (Run.id, Run.state, Run.reason, Run.due_at, Run.created_at, Run.started_at, Run.ended_at)
# Uses the index on (schedule, due time). Manual runs have no due time; those skipped in advance are in the future.
_WALK = "FROM runs WHERE schedule_id = {id} AND due_at <= :now ORDER BY due_at DESC LIMIT :most"
# PostgreSQL plans each part of a union anew, which takes longer than the walks themselves.
_LATERAL = (
    "SELECT {outer} FROM unnest(CAST(:ids AS integer[])) AS wanted(number) "
    "CROSS JOIN LATERAL (SELECT schedule_id, {inner} {walk}) AS walked {end}"
)


def recent_runs(schedule_ids: Sequence[int], now: datetime, count: int) -> dict[int, list[LastRun]]:
    """The last runs of each schedule's due times, newest first."""
    names = ", ".join(column.key for column in _COLUMNS)
    found: dict[int, list[LastRun]] = {}
    end = "" if is_sqlite(db.engine) else "ORDER BY due_at DESC"
    for row in _walks((f"schedule_id, {names}", names, end), schedule_ids, now, count, typed=True):
        found.setdefault(row[0], []).append(LastRun(*tuple(row)[1:]))
    return found


def recent_states(schedule_ids: Sequence[int], now: datetime) -> dict[int, list[str]]:
    """The states of the last runs of each schedule's due times, newest first."""
    # The database joins the states, for one row for each schedule instead of thousands of rows.
    if is_sqlite(db.engine):
        columns = ("{id} AS schedule_id, group_concat(state, ',') AS states", "state, due_at", "")
    else:
        joined = "string_agg(state, ',' ORDER BY due_at DESC)"
        columns = (f"schedule_id, {joined} AS states", "state, due_at", "GROUP BY schedule_id")
    rows = _walks(columns, schedule_ids, now, STRIP_LENGTH)
    return {row.schedule_id: row.states.split(",") for row in rows if row.states}


def manual_runs(schedule_id: int, count: int) -> list[LastRun]:
    """The last manual runs of a schedule, newest first."""
    query = sa.select(*_COLUMNS).where(Run.schedule_id == schedule_id, Run.due_at.is_(None))
    return [LastRun(*row) for row in db.session.execute(query.order_by(Run.created_at.desc()).limit(count))]


def _walks(
    columns: tuple[str, str, str], ids: Sequence[int], now: datetime, most: int, *, typed: bool = False
) -> Sequence[sa.Row[Any]]:
    if not ids:
        return []
    given: dict[str, Any] = {"now": now, "most": most}
    if is_sqlite(db.engine):
        given |= {f"id{place}": number for place, number in enumerate(ids)}
        return db.session.execute(_statement(columns, len(ids), typed), given).all()
    given["ids"] = array_literal(ids)
    return db.session.execute(_statement(columns, None, typed), given).all()


@lru_cache(maxsize=64)
def _statement(columns: tuple[str, str, str], count: int | None, typed: bool) -> sa.Executable:
    """The statement, cached. `count` is how many schedules SQLite has to walk, `typed` whether rows are whole runs."""
    if count is None:
        outer, inner, end = columns
        walk = _WALK.format(id="wanted.number")
        statement = sa.text(_LATERAL.format(outer=outer, inner=inner, walk=walk, end=end))
    else:
        statement = _union(*columns[:2], count)
    bound = statement.bindparams(sa.bindparam("now", type_=Run.due_at.type))
    types = [sa.column(column.key, column.type) for column in _COLUMNS]
    return bound.columns(sa.column("schedule_id", sa.Integer), *types) if typed else bound


def _union(outer: str, inner: str, count: int) -> sa.TextClause:
    """A union of one query for each schedule, which SQLite reads one after the other, so that their order is kept."""
    parts = []
    for place in range(count):
        number = f"CAST(:id{place} AS INTEGER)"
        walk = _WALK.format(id=number)
        parts.append(f"SELECT {outer.format(id=number)} FROM (SELECT schedule_id, {inner} {walk}) AS walked{place}")  # noqa: S608 - constants
    return sa.text(" UNION ALL ".join(parts))
