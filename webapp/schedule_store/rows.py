"""Which columns of which tables make a schedule, and how they are joined: for beat, pages and the calendar alike.

Beat takes `COLUMNS` as the driver gives them out: with 100,000 rows, converting their values would cost more than
everything else at start. Pages take the same columns with their types, and whatever else the tables have
(`select_schedules`). What a row means is in `reader`.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from operator import itemgetter
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTask,
    SolarSchedule,
)

from webapp.database.engine import UtcDateTime
from webapp.schedule_store.beat_models import ScheduleProgress
from webapp.schedule_store.definition import Kind
from webapp.schedule_store.models import ScheduleDetail, ScheduleWords

# A named tuple of `COLUMNS`, and of more columns after them where pages read it.
Row = Any

# How many rows are in memory at a time; more take room that stays taken, and are read no faster.
CHUNK_ROWS = 500
# Up to so many changed schedules are read by their ids; more, such as after a bulk change, by one walk over all.
MAX_READ_BY_ID = 500


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

# Schedules without their rules, where no more is needed. A schedule that beat has not read yet has no progress.
SCHEDULES = TASKS.join(DETAILS, DETAILS.c.schedule_id == TASKS.c.id).outerjoin(
    PROGRESS, PROGRESS.c.schedule_id == TASKS.c.id
)
_WITH_RULES: sa.FromClause = reduce(
    lambda joined, kind: joined.outerjoin(
        RULE_TABLES[kind],
        (TASKS.c.discriminator == DISCRIMINATORS[kind]) & (RULE_TABLES[kind].c.id == TASKS.c.schedule_id),
    ),
    RULE_TABLES,
    SCHEDULES,
)

CLOCKED = TASKS.c.discriminator == DISCRIMINATORS[Kind.CLOCKED]
# Whether it was to run once and has: other programs count its run in the library's own column.
FIRED = TASKS.c.one_off & (TASKS.c.total_run_count > 0)
# The library's `one_off` means once, whatever the kind.
MAX_RUNS = sa.case((TASKS.c.one_off & ~CLOCKED, 1), else_=DETAILS.c.max_runs)
# How many runs were made that the maximum counts: none of those from before beat switched it off.
DONE = sa.case((PROGRESS.c.revision.is_not(None) & (PROGRESS.c.runs > 0), PROGRESS.c.runs), (FIRED, 1), else_=0)


def _of(table: sa.Table, names: str) -> dict[str, sa.ColumnElement[Any]]:
    return {name: table.c[name] for name in names.split()}


# What beat reads of a schedule. What belongs together stands together (see `target_columns` and the others), because
# by such a part of a row the reader recognises what it has met before.
COLUMNS: dict[str, sa.ColumnElement[Any]] = {
    **_of(TASKS, "id name args kwargs enabled"),
    **_of(DETAILS, "tags version revision changed_at"),
    **_of(TASKS, "task queue exchange routing_key headers priority"),
    # Of the rule's row, if that is there.
    "rule_id": sa.func.coalesce(*(table.c.id for table in RULE_TABLES.values())),
    **_of(TASKS, "discriminator"),
    **_of(INTERVALS, "every period"),
    **_of(CRONTABS, "minute hour day_of_month month_of_year day_of_week"),
    "crontab_timezone": CRONTABS.c.timezone,
    **_of(SOLARS, "event latitude longitude"),
    **_of(CLOCKEDS, "clocked_time"),
    **_of(DETAILS, "timezone anchor ends_at jitter"),
    "max_runs": MAX_RUNS,
    "fired": FIRED,
    **_of(TASKS, "start_time expires expire_seconds"),
    **_of(DETAILS, "misfire misfire_window overlap paused_at paused_until pause_reason paused_by"),
    **_of(PROGRESS, "last_due_at next_due_at broken"),
    "progress_revision": PROGRESS.c.revision,
    "done": DONE,
}


def _between(first: str, last: str) -> Callable[[Row], tuple[Any, ...]]:
    names = list(COLUMNS)
    return itemgetter(slice(names.index(first), names.index(last) + 1))


# Where its messages go; when it comes due; what decides about a due time then.
target_columns = _between("task", "priority")
rule_columns = _between("discriminator", "expires")
policy_columns = _between("expires", "paused_by")


def _typed(column: sa.ColumnElement[Any]) -> Any:
    """The library's moments in UTC; its enumerations as text, because one unknown word must not spoil other rows."""
    if isinstance(column.type, sa.DateTime):
        return sa.type_coerce(column, UtcDateTime)
    return sa.type_coerce(column, sa.String) if isinstance(column.type, sa.Enum) else column


# All that pages need besides: what a person wrote, and how many runs there were before beat switched it off.
_EVERYTHING = {
    **COLUMNS,
    **{column.name: column for column in (*TASKS.c, *DETAILS.c) if column.name not in {*COLUMNS, "schedule_id"}},
    **_of(PROGRESS, "runs"),
}
_TYPED = sa.select(*(_typed(column).label(name) for name, column in _EVERYTHING.items())).select_from(_WITH_RULES)
_RAW = sa.select(*(sa.type_coerce(column, sa.types.NullType()).label(name) for name, column in COLUMNS.items()))
_RAW = _RAW.select_from(_WITH_RULES)
# Named tuples give out a value in a tenth of the time that SQLAlchemy's own rows take.
_raw_row, typed_row = (cast("Any", namedtuple("Row", names))._make for names in (COLUMNS, _EVERYTHING))
_CHANGED = _RAW.where(DETAILS.c.revision > sa.bindparam("revision"))
_SOME = _RAW.where(TASKS.c.id.in_(sa.bindparam("ids", expanding=True)))
_CHANGED_IDS = sa.text(
    f"SELECT schedule_id FROM schedule_details WHERE revision > :revision ORDER BY revision LIMIT {MAX_READ_BY_ID + 1}"  # noqa: S608
)
_LATEST = sa.text("SELECT revision FROM schedule_revision WHERE id = 1")
_CHANGES_SINCE = sa.text(
    "SELECT coalesce(max(revision), 0) AS revision, "
    "EXISTS (SELECT 1 FROM schedule_tombstones WHERE revision > :known) AS deleted, "
    "EXISTS (SELECT 1 FROM pauses WHERE settled_at IS NULL) AS paused FROM schedule_revision WHERE id = 1"
)
_DELETED = sa.text("SELECT schedule_id FROM schedule_tombstones WHERE revision > :revision")


def select_schedules() -> sa.Select[Any]:
    """Everything of every schedule: add conditions, order and limit, and have `stored.load` execute it."""
    return _TYPED


def all_rows(connection: sa.Connection) -> Iterator[list[Row]]:
    """All schedules, in chunks, so that memory holds one chunk of rows at a time. Needs a transaction."""
    streaming = connection.execution_options(stream_results=True, max_row_buffer=CHUNK_ROWS)
    for chunk in streaming.execute(_RAW).partitions(CHUNK_ROWS):
        yield list(map(_raw_row, chunk))


def changed_rows(connection: sa.Connection, revision: int) -> list[Row]:
    """The schedules that changed after a revision."""
    ids = connection.execute(_CHANGED_IDS, {"revision": revision}).scalars().all()
    if len(ids) <= MAX_READ_BY_ID:
        return rows_by_id(connection, ids)
    return list(map(_raw_row, connection.execute(_CHANGED, {"revision": revision})))


def rows_by_id(connection: sa.Connection, ids: Sequence[int]) -> list[Row]:
    """The schedules of these numbers, at most a few hundred."""
    return list(map(_raw_row, connection.execute(_SOME, {"ids": ids}))) if ids else []


def latest_revision(connection: sa.Connection) -> int:
    """The last revision that was committed. Read it before the rows: what is committed meanwhile is then read again."""
    return connection.execute(_LATEST).scalar() or 0


def changes_since(connection: sa.Connection, known: int) -> Row:
    """The last `revision`; whether schedules were `deleted` after the known one; whether a pause is not settled.

    In one statement, to be executed before the rows are read, as `latest_revision`.
    """
    return connection.execute(_CHANGES_SINCE, {"known": known}).one()


def deleted_ids(connection: sa.Connection, revision: int) -> list[int]:
    """The schedules that were deleted after a revision."""
    return list(connection.execute(_DELETED, {"revision": revision}).scalars())
