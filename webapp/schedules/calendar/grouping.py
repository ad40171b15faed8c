"""Groups of schedules that come due alike, made by the database: of 100,000 most differ in name and arguments only.

To read all of them takes seconds; to have the database group them, and to read one of each group, a tenth of that.
What they are grouped by follows from `rows.COLUMNS`: a column that is new there separates schedules until it is named
in `INDIFFERENT`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import sqlalchemy as sa

from webapp.schedule_store.reader import HIGHEST_PRIORITY, LOWEST_PRIORITY
from webapp.schedule_store.rows import (
    COLUMNS,
    DONE,
    FIRED,
    MAX_RUNS,
    PROGRESS,
    RULE_TABLES,
    SCHEDULES,
    TASKS,
    Row,
    rows_by_id,
)

# Beyond so many groups it is quicker to read all schedules one by one.
MAX_GROUPS = 20_000
ROWS_AT_ONCE = 500

# Columns in which schedules may differ that come due alike, for the same task, queue and tags.
INDIFFERENT = frozenset(
    {"id", "name", "version", "revision", "changed_at", "expire_seconds", "misfire_window", "pause_reason", "paused_by"}
    # How far beat has come; of that only how many runs were made matters (`done`).
    | {"last_due_at", "next_due_at", "progress_revision"}
)
# What nearly every row has. A row that has something else may be broken, and is a group of its own by its number.
_USUAL = sa.and_(
    TASKS.c.args.like("[%]"),
    TASKS.c.kwargs.like("{%}"),
    sa.func.coalesce(TASKS.c.headers, "").in_(("", "{}")),
    sa.func.coalesce(TASKS.c.priority, 0).between(LOWEST_PRIORITY, HIGHEST_PRIORITY),
    PROGRESS.c.broken.is_(None),
)
# Columns of which something else decides than their value: the rule's by which row they come from, for one.
_INSTEAD = {
    **dict.fromkeys(("args", "kwargs", "headers", "priority", "broken"), sa.case((_USUAL, 0), else_=TASKS.c.id)),
    **{
        name: TASKS.c.schedule_id
        for name, one in COLUMNS.items()
        if getattr(one, "table", None) in RULE_TABLES.values()
    },
    "rule_id": TASKS.c.schedule_id,
    "done": sa.case((sa.or_(FIRED, MAX_RUNS.is_not(None)), DONE)),
}
_GROUPED = (
    sa.select(sa.func.min(TASKS.c.id), sa.func.aggregate_strings(sa.cast(TASKS.c.id, sa.Text), ","))
    .select_from(SCHEDULES)
    .where(TASKS.c.enabled, TASKS.c.task.in_(sa.bindparam("tasks", expanding=True)))
    .group_by(*dict.fromkeys(_INSTEAD.get(name, one) for name, one in COLUMNS.items() if name not in INDIFFERENT))
    .limit(MAX_GROUPS + 1)
)


def alike(connection: sa.Connection, tasks: Collection[str]) -> Iterator[tuple[Row, list[int]]] | None:
    """One enabled schedule of these tasks for each group, with the numbers of all in it; None for too many groups.

    Arguments that look like JSON and are none are only noticed once beat has found them broken.
    """
    found = dict(tuple(row) for row in connection.execute(_GROUPED, {"tasks": sorted(tasks)}))
    return _read(connection, found) if len(found) <= MAX_GROUPS else None


def _read(connection: sa.Connection, found: dict[int, str]) -> Iterator[tuple[Row, list[int]]]:
    firsts = list(found)
    for place in range(0, len(firsts), ROWS_AT_ONCE):
        for row in rows_by_id(connection, firsts[place : place + ROWS_AT_ONCE]):
            yield row, [int(text) for text in found[row.id].split(",")]
