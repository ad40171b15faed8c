"""Which schedules come due alike, found by the database: of 100,000 schedules most differ in name and arguments only.

To read all of them takes seconds; to have the database gather them, and to read one of each kind, a tenth of that.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

import sqlalchemy as sa

from webapp.database.dialects import numbers_joined
from webapp.schedule_store.rows import Row, some_rows

# Beyond so many different ones it is quicker to read all schedules one by one.
MOST = 20_000
AT_ONCE = 500

# What a schedule's whens, its task and its queue depend on. What cannot be taken for granted of its alikes, because it
# is not as nearly every row is, stands alone by its number.
_GROUPED = """
SELECT min(p.id) AS first, {ids} AS ids
FROM celery_periodictask p
JOIN schedule_details d ON d.schedule_id = p.id
LEFT JOIN schedule_progress g ON g.schedule_id = p.id
WHERE p.enabled AND p.task IN :tasks
GROUP BY p.discriminator, p.schedule_id, p.task, p.queue, p.exchange, p.routing_key, p.start_time, p.expires, p.one_off,
  d.timezone, d.anchor, d.ends_at, d.max_runs, d.jitter, d.paused_at, d.paused_until, d.tags, d.misfire, d.overlap,
  CASE WHEN p.one_off OR d.max_runs IS NOT NULL THEN coalesce(CASE WHEN g.revision IS NOT NULL THEN g.runs END, 0) END,
  CASE WHEN p.one_off THEN p.total_run_count > 0 END,
  CASE WHEN p.args LIKE '[%]' AND p.kwargs LIKE '{{%}}' AND coalesce(p.headers, '') IN ('', '{{}}')
    AND coalesce(p.priority, 0) BETWEEN 0 AND 9 AND g.broken IS NULL THEN 0 ELSE p.id END
LIMIT {limit}
"""


class Alike(NamedTuple):
    """One schedule, and the numbers of all that come due as it does, its own among them."""

    row: Row
    ids: list[int]


def alike(connection: sa.Connection, tasks: Collection[str]) -> Iterator[Alike] | None:
    """The enabled schedules of these tasks; None when too many of them differ.

    Arguments that look like JSON and are none are only noticed once beat has found them broken.
    """
    statement = sa.text(_GROUPED.format(ids=numbers_joined(connection, "p.id"), limit=MOST + 1))
    query = statement.bindparams(sa.bindparam("tasks", expanding=True))
    found = dict(tuple(row) for row in connection.execute(query, {"tasks": sorted(tasks)}))
    return _read(connection, found) if len(found) <= MOST else None


def _read(connection: sa.Connection, found: dict[int, str]) -> Iterator[Alike]:
    firsts = list(found)
    for place in range(0, len(firsts), AT_ONCE):
        for row in some_rows(connection, firsts[place : place + AT_ONCE]):
            yield Alike(row, [int(text) for text in found[row.id].split(",")])
