"""What Beatdesk added to its database, and its removal in one transaction.

The tables named `celery_…` are sqlalchemy-celery-beat's and stay, with their rows as its own beat needs them:

1. Schedules of Beatdesk's own tasks are deleted, because no other worker has those tasks.
2. Schedules that a pause holds are disabled: no other beat knows pauses, so they would fire.
3. Sealed arguments are opened, and an end that only Beatdesk knew becomes the library's `expires`.
4. Triggers, indexes, functions and tables of Beatdesk's are dropped.
5. On PostgreSQL, tables that were in the schema `celery_schema` return to it, in the place of their views.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session
from sqlalchemy_celery_beat.models import ModelBase

from beatdesk.secrecy.sealing import Unopenable
from beatdesk.secrecy.text import SEALED
from webapp.database.dialects import is_sqlite
from webapp.database.engine import Base
from webapp.database.moments import utc
from webapp.schedule_store import pause_rows, secret_arguments, stored
from webapp.schedule_store.rows import TASKS, select_schedules
from webapp.schedule_store.status import Status, has_status
from webapp.schedule_store.stored import Stored
from webapp.schedule_store.writing import Writer
from webapp.task_catalogue.registry import is_own

LIBRARY_SCHEMA = "celery_schema"
VERSION_TABLE = "alembic_version"
# A database without these tables is not Beatdesk's.
MARKS = {"installation", "runs", "schedule_details"}
# The prefix of triggers and functions.
PREFIX = "beatdesk_"


@dataclass(frozen=True)
class Tables:
    """What is Beatdesk's in the database: rows by table, names of triggers, and what happens to schedules, by name.

    `kept` is the number of schedules that stay, `disabled` and `opened` are some of those; `unreadable` are those of
    which a secret argument cannot be opened. `home` is the schema that the library's tables return to, if any.
    """

    rows: dict[str, int]
    triggers: list[str]
    deleted: list[str]
    kept: int
    disabled: list[str]
    opened: list[str]
    unreadable: list[str]
    home: str | None


def library_tables() -> set[str]:
    """The names of sqlalchemy-celery-beat's own tables."""
    return {table.name for table in ModelBase.metadata.sorted_tables if table.schema == LIBRARY_SCHEMA}


def added(session: Session, now: datetime) -> Tables | None:
    """What Beatdesk added to the database; None if its tables are not there."""
    connection = session.connection()
    own = _own_tables(connection)
    if not own:
        return None
    found = _all_schedules(session)
    deleted = [one for one in found if is_own(one.row.task)]
    kept = [one for one in found if not is_own(one.row.task)]
    held = _held(session, now)
    opened, unreadable = _sealed(kept)
    return Tables(
        rows={name: connection.scalar(sa.select(sa.func.count()).select_from(sa.table(name))) or 0 for name in own},
        triggers=sorted({name for name, _table in _triggers(connection)}),
        deleted=[one.name for one in deleted],
        kept=len(kept),
        disabled=[one.name for one in kept if one.id in held],
        opened=[one.name for one, _call in opened],
        unreadable=unreadable,
        home=LIBRARY_SCHEMA if _views(connection) else None,
    )


def remove(session: Session, now: datetime) -> None:
    """Remove all of it, and commit. After an interruption nothing has happened."""
    connection = session.connection()
    own = _own_tables(connection)
    if not own:
        return
    if not is_sqlite(connection):
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
    _hand_over_schedules(session, now)
    _drop_own(connection, own)
    session.commit()


def _hand_over_schedules(session: Session, now: datetime) -> None:
    writer = Writer(session, "Beatdesk", now, "Beatdesk")
    found = _all_schedules(session)
    for one in found:
        if is_own(one.row.task):
            writer.delete(one)
    kept = [one for one in found if not is_own(one.row.task)]
    held = _held(session, now)
    _set(session, {one.id: {"enabled": False} for one in kept if one.id in held})
    _set(session, {one.id: call for one, call in _sealed(kept)[0]})
    _set(session, {one.id: {"expires": utc(one.row.ends_at)} for one in kept if one.row.ends_at is not None})


def _set(session: Session, values: dict[int, dict[str, object]]) -> None:
    for number, columns in values.items():
        session.execute(sa.update(TASKS).where(TASKS.c.id == number).values(columns))


def _drop_own(connection: sa.Connection, tables: Sequence[str]) -> None:
    for name, table in _triggers(connection):
        connection.exec_driver_sql(f"DROP TRIGGER {name}" + ("" if is_sqlite(connection) else f" ON {table}"))
    for index in _own_indexes():
        connection.exec_driver_sql(f"DROP INDEX IF EXISTS {index}")
    for name in tables:
        connection.exec_driver_sql(f"DROP TABLE {name}")
    if not is_sqlite(connection):
        _drop_functions(connection)
        _return_home(connection)


def _all_schedules(session: Session) -> list[Stored]:
    return stored.load(session, select_schedules().order_by(TASKS.c.name))


def _held(session: Session, now: datetime) -> set[int]:
    """The schedules that a pause holds."""
    conditions = has_status(Status.PAUSED, now, pause_rows.unsettled(session))
    return {one.id for one in stored.load(session, select_schedules().where(*conditions))}


def _sealed(found: Sequence[Stored]) -> tuple[list[tuple[Stored, dict[str, object]]], list[str]]:
    """The schedules with sealed arguments, each with the columns as they are; and those that cannot be opened."""
    opened: list[tuple[Stored, dict[str, object]]] = []
    unreadable = []
    for one in found:
        if SEALED not in f"{one.row.args}{one.row.kwargs}":
            continue
        try:
            args, kwargs = secret_arguments.opened(one.snapshot).plain
        except Unopenable:
            unreadable.append(one.name)
        else:
            opened.append((one, {"args": json.dumps(args), "kwargs": json.dumps(kwargs)}))
    return opened, unreadable


def _own_tables(connection: sa.Connection) -> list[str]:
    """Those that are there, each before the tables that it refers to; none in another program's database."""
    there = set(sa.inspect(connection).get_table_names())
    if not there.issuperset(MARKS):
        return []
    ours = [table.name for table in reversed(Base.metadata.sorted_tables) if table.schema is None]
    # The index of words is a virtual table on SQLite, whose parts go with it.
    return [name for name in ("schedule_grams", *ours, VERSION_TABLE) if name in there]


def _own_indexes() -> list[str]:
    """Of ours, on the library's tables."""
    library = (table for table in ModelBase.metadata.sorted_tables if table.schema == LIBRARY_SCHEMA)
    return sorted(str(index.name) for table in library for index in table.indexes)


def _triggers(connection: sa.Connection) -> list[tuple[str, str]]:
    """Names of triggers of ours, each with its table."""
    query = "SELECT name, tbl_name FROM sqlite_master WHERE type = 'trigger'"
    if not is_sqlite(connection):
        query = (
            "SELECT tgname, relname FROM pg_trigger JOIN pg_class c ON c.oid = tgrelid "
            "WHERE NOT tgisinternal AND relnamespace = current_schema()::regnamespace"
        )
    rows = connection.exec_driver_sql(query).all()
    return sorted((name, table) for name, table in rows if name.startswith(PREFIX))


def _drop_functions(connection: sa.Connection) -> None:
    query = "SELECT oid::regprocedure::text, proname FROM pg_proc WHERE pronamespace = current_schema()::regnamespace"
    for signature, name in connection.exec_driver_sql(query).all():
        if name.startswith(PREFIX):
            connection.exec_driver_sql(f"DROP FUNCTION {signature}")


def _views(connection: sa.Connection) -> set[str]:
    """The library's tables in whose place Beatdesk left a view when it moved them."""
    if is_sqlite(connection):
        return set()
    return set(sa.inspect(connection).get_view_names(LIBRARY_SCHEMA)) & library_tables()


def _return_home(connection: sa.Connection) -> None:
    for name in sorted(_views(connection)):
        connection.exec_driver_sql(f"DROP VIEW {LIBRARY_SCHEMA}.{name}")
        connection.exec_driver_sql(f"ALTER TABLE {name} SET SCHEMA {LIBRARY_SCHEMA}")
