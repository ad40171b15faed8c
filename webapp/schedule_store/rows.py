"""The rows of schedules as beat reads them: all of them, or those that changed.

Plain SQL and plain tuples: with 100,000 rows, objects for columns would cost more than everything else at start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTask,
    SolarSchedule,
)

from webapp.schedule_store.beat_models import ScheduleProgress
from webapp.schedule_store.definition import Kind
from webapp.schedule_store.models import ScheduleDetail, ScheduleWords


def _table(model: Any) -> sa.Table:
    table: sa.Table = model.__table__
    return table


TASKS = _table(PeriodicTask)
DETAILS = _table(ScheduleDetail)
PROGRESS = _table(ScheduleProgress)
WORDS = _table(ScheduleWords)
INTERVALS = _table(IntervalSchedule)
CRONTABS = _table(CrontabSchedule)
SOLARS = _table(SolarSchedule)
CLOCKEDS = _table(ClockedSchedule)
RULE_TABLES = {
    Kind.INTERVAL: INTERVALS,
    Kind.CRONTAB: CRONTABS,
    Kind.SOLAR: SOLARS,
    Kind.CLOCKED: CLOCKEDS,
}
DISCRIMINATORS = {kind: f"{kind}schedule" for kind in Kind}
KINDS = {name: kind for kind, name in DISCRIMINATORS.items()}

# How many rows are in memory at a time; more take room that stays taken, and are read no faster.
CHUNK = 500
# Up to so many changed schedules are read by their ids; more, such as after a bulk change, by one walk over all.
FEW = 500


class Row(NamedTuple):
    """One schedule, everything that its tables say about it, as the driver gives it out.

    What belongs together stands together (see `target_columns` and the others), because by such a part of a row the
    reader recognises what it has met before.
    """

    id: int
    name: str
    args: str | None
    kwargs: str | None
    tags: str
    enabled: Any
    version: int
    revision: int
    changed_at: Any
    task: str
    queue: str | None
    exchange: str | None
    routing_key: str | None
    headers: str | None
    priority: int | None
    rule_id: int | None
    discriminator: str | None
    every: int | None
    period: str | None
    minute: str | None
    hour: str | None
    day_of_month: str | None
    month_of_year: str | None
    day_of_week: str | None
    crontab_timezone: str | None
    event: str | None
    latitude: Any
    longitude: Any
    clocked_time: Any
    timezone: str
    start_time: Any
    ends_at: Any
    anchor: Any
    max_runs: int | None
    one_off: Any
    fired: Any
    jitter: float
    expires: Any
    expire_seconds: int | None
    misfire: str
    misfire_window: int
    overlap: str
    paused_at: Any
    paused_until: Any
    pause_reason: str | None
    paused_by: str | None
    last_due_at: Any
    next_due_at: Any
    runs: int | None
    broken: str | None
    progress_revision: int | None


def _columns(first: str, last: str) -> Callable[[Row], tuple[Any, ...]]:
    return itemgetter(slice(Row._fields.index(first), Row._fields.index(last) + 1))


# Where its messages go; when it comes due; what is asked then.
target_columns = _columns("task", "priority")
rule_columns = _columns("discriminator", "expires")
policy_columns = _columns("expires", "paused_by")

_SELECT = """
SELECT p.id, p.name, p.args, p.kwargs, d.tags, p.enabled, d.version, d.revision, d.changed_at,
  p.task, p.queue, p.exchange, p.routing_key, p.headers, p.priority,
  coalesce(i.id, c.id, s.id, k.id), p.discriminator, i.every, i.period,
  c.minute, c.hour, c.day_of_month, c.month_of_year, c.day_of_week, c.timezone,
  s.event, s.latitude, s.longitude, k.clocked_time,
  d.timezone, p.start_time, d.ends_at, d.anchor, d.max_runs, p.one_off,
  p.one_off AND p.total_run_count > 0, d.jitter, p.expires, p.expire_seconds, d.misfire, d.misfire_window, d.overlap,
  d.paused_at, d.paused_until, d.pause_reason, d.paused_by,
  g.last_due_at, g.next_due_at, g.runs, g.broken, g.revision
FROM celery_periodictask p
JOIN schedule_details d ON d.schedule_id = p.id
LEFT JOIN celery_intervalschedule i ON p.discriminator = 'intervalschedule' AND i.id = p.schedule_id
LEFT JOIN celery_crontabschedule c ON p.discriminator = 'crontabschedule' AND c.id = p.schedule_id
LEFT JOIN celery_solarschedule s ON p.discriminator = 'solarschedule' AND s.id = p.schedule_id
LEFT JOIN celery_clockedschedule k ON p.discriminator = 'clockedschedule' AND k.id = p.schedule_id
LEFT JOIN schedule_progress g ON g.schedule_id = p.id
"""
_ALL = sa.text(_SELECT)
_LATEST = sa.text("SELECT revision FROM schedule_revision WHERE id = 1")
_NEWS = sa.text(
    "SELECT revision, EXISTS (SELECT 1 FROM schedule_tombstones WHERE revision > :known) AS deleted, "
    "EXISTS (SELECT 1 FROM pauses WHERE settled_at IS NULL) AS paused FROM schedule_revision WHERE id = 1"
)
_DELETED = sa.text("SELECT schedule_id FROM schedule_tombstones WHERE revision > :revision")
_CHANGED_IDS = sa.text(
    f"SELECT schedule_id FROM schedule_details WHERE revision > :revision ORDER BY revision LIMIT {FEW + 1}"  # noqa: S608
)
_CHANGED = sa.text(f"{_SELECT} WHERE d.revision > :revision")
_SOME = sa.text(f"{_SELECT} WHERE p.id IN :ids").bindparams(sa.bindparam("ids", expanding=True))


def every_row(connection: sa.Connection) -> Iterator[list[Row]]:
    """All schedules, in chunks, so that memory holds one chunk of rows at a time. Needs a transaction."""
    streaming = connection.execution_options(stream_results=True, max_row_buffer=CHUNK)
    for chunk in streaming.execute(_ALL).partitions(CHUNK):
        yield [Row._make(row) for row in chunk]


def changed_rows(connection: sa.Connection, revision: int) -> list[Row]:
    """The schedules that changed after a revision."""
    ids = list(connection.execute(_CHANGED_IDS, {"revision": revision}).scalars())
    if not ids:
        return []
    if len(ids) <= FEW:
        return [Row._make(row) for row in connection.execute(_SOME, {"ids": ids})]
    return [Row._make(row) for row in connection.execute(_CHANGED, {"revision": revision})]


def some_rows(connection: sa.Connection, ids: Sequence[int]) -> list[Row]:
    """The schedules of these numbers, at most a few hundred."""
    return [Row._make(row) for row in connection.execute(_SOME, {"ids": list(ids)})] if ids else []


def latest_revision(connection: sa.Connection) -> int:
    """The last revision that was committed. Read it before the rows: what is committed meanwhile is then read again."""
    return connection.execute(_LATEST).scalar() or 0


class News(NamedTuple):
    """The last revision, whether schedules were deleted after the known one, and whether a pause is not settled."""

    revision: int
    deleted: bool
    paused: bool


def news(connection: sa.Connection, known: int) -> News:
    """What there is to be read since a revision, in one statement. To be read before the rows, as `latest_revision`."""
    row = connection.execute(_NEWS, {"known": known}).first()
    return News(0, deleted=False, paused=False) if row is None else News(row.revision, row.deleted, row.paused)


def deleted_ids(connection: sa.Connection, revision: int) -> list[int]:
    """The schedules that were deleted after a revision."""
    return list(connection.execute(_DELETED, {"revision": revision}).scalars())


def select_schedules() -> sa.Select[Any]:
    """Everything of every schedule: add conditions, order and limit.

    The library's enumerations are read as plain text: one unknown word in one row must not spoil the rest.
    """
    return sa.select(
        *(column for column in TASKS.c if column.name != "schedule_id"),
        TASKS.c.schedule_id.label("rule_id"),
        *(column for column in DETAILS.c if column.name != "schedule_id"),
        PROGRESS.c.last_due_at,
        PROGRESS.c.next_due_at,
        PROGRESS.c.runs,
        PROGRESS.c.broken,
        PROGRESS.c.revision.label("progress_revision"),
        INTERVALS.c.id.label("interval_id"),
        INTERVALS.c.every,
        sa.type_coerce(INTERVALS.c.period, sa.String).label("period"),
        CRONTABS.c.id.label("crontab_id"),
        *(CRONTABS.c[name] for name in ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")),
        CRONTABS.c.timezone.label("crontab_timezone"),
        SOLARS.c.id.label("solar_id"),
        sa.type_coerce(SOLARS.c.event, sa.String).label("event"),
        SOLARS.c.latitude,
        SOLARS.c.longitude,
        CLOCKEDS.c.id.label("clocked_id"),
        CLOCKEDS.c.clocked_time,
    ).select_from(_joined())


def _joined() -> sa.FromClause:
    joined: sa.FromClause = TASKS.outerjoin(DETAILS, DETAILS.c.schedule_id == TASKS.c.id)
    joined = joined.outerjoin(PROGRESS, PROGRESS.c.schedule_id == TASKS.c.id)
    for kind, table in RULE_TABLES.items():
        of_kind = (TASKS.c.discriminator == DISCRIMINATORS[kind]) & (table.c.id == TASKS.c.schedule_id)
        joined = joined.outerjoin(table, of_kind)
    return joined
