"""Imports the schedules of another database: sqlalchemy-celery-beat's, with or without its schema, or Beatdesk's."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from webapp.database.dialects import is_sqlite
from webapp.database.engine import SCHEMA_MAP, engine_options
from webapp.database.moments import utc
from webapp.recurrence.fields import FIELD_NAMES
from webapp.schedule_store.definition import Kind
from webapp.schedule_store.rows import DETAILS, KINDS, TASKS, select_schedules
from webapp.schedule_store.secret_arguments import exported
from webapp.schedule_store.stored import load
from webapp.schedules.sources.given import Given, check_names, refuse
from webapp.schedules.sources.library import from_row

SCHEMA = "celery_schema"
RULE_COLUMNS: dict[Kind, tuple[str, ...]] = {
    Kind.INTERVAL: ("every", "period"),
    Kind.CRONTAB: (*FIELD_NAMES, "timezone"),
    Kind.SOLAR: ("event", "latitude", "longitude"),
    Kind.CLOCKED: ("clocked_time",),
}


def from_database(url: str, now: datetime) -> list[Given]:
    """All schedules of a database. Raises Invalid if it cannot be read; the message does not contain the URL."""
    try:
        # Without the execution options for our own database, such as its journal and schema.
        engine = sa.create_engine(url, **(engine_options(url) | {"execution_options": {}}))
    except (sa.exc.ArgumentError, sa.exc.NoSuchModuleError, ImportError, ValueError):
        raise refuse("Enter the URL of a database, such as postgresql+psycopg://… or sqlite:///….") from None
    file = engine.url.database
    if is_sqlite(engine) and (not file or not Path(file).is_file()):
        raise refuse("There is no SQLite file of this name.")  # SQLite would create an empty one
    try:
        with engine.connect() as connection:
            return check_names(_read_schedules(connection, now))
    except sa.exc.DatabaseError as error:
        reason = " ".join(str(error.orig).split())
        raise refuse(f"The database cannot be read: {reason[:300]}.") from None
    finally:
        engine.dispose()


def _read_schedules(connection: sa.Connection, now: datetime) -> list[Given]:
    inspector = sa.inspect(connection)
    if inspector.has_table(DETAILS.name):
        own = connection.execution_options(schema_translate_map=SCHEMA_MAP)
        found = load(own, select_schedules().order_by(TASKS.c.name))
        return [Given(one.name, exported(one.snapshot), anchor=one.row.anchor) for one in found]
    schemas = [None] if is_sqlite(connection) else [None, SCHEMA]
    schema = next((one for one in schemas if inspector.has_table(TASKS.name, schema=one)), "")
    if schema == "":
        raise refuse(f"The database has no table {TASKS.name}.")
    return _library_rows(connection, schema, now)


def _library_rows(connection: sa.Connection, schema: str | None, now: datetime) -> list[Given]:
    """The rows of the library's tables, with the columns of whichever version created them."""
    tables = sa.MetaData()
    rules: dict[tuple[str, int], dict[str, Any]] = {}
    for kind, columns in RULE_COLUMNS.items():
        table = sa.Table(f"celery_{kind}schedule", tables, schema=schema, autoload_with=connection)
        chosen = [sa.type_coerce(table.c[name], _type(name)).label(name) for name in columns]
        for row in connection.execute(sa.select(table.c.id, *chosen)):
            rules[kind, row.id] = {name: _aware(getattr(row, name)) for name in columns}
    tasks = sa.Table(TASKS.name, tables, schema=schema, autoload_with=connection)
    if missing := {"discriminator", "schedule_id"} - set(tasks.c.keys()):
        raise refuse(
            f"Its table {TASKS.name} has no {' and no '.join(sorted(missing))}: update the library there first."
        )
    found: list[Given] = []
    for task in connection.execute(sa.select(tasks).order_by(tasks.c.name)).mappings():
        values = {str(name): _aware(value) for name, value in task.items()}
        named = KINDS.get(values["discriminator"])
        rule = rules.get((named, values["schedule_id"])) if named else None
        if named is None or rule is None:
            found.append(Given(values["name"], error="The row of its schedule is missing."))
        else:
            found.append(from_row(values, named.value, rule, now, None, timezone="UTC"))
    return found


def _aware(value: Any) -> Any:
    """SQLite returns the library's moments, which are UTC, without a time zone."""
    return utc(value) if isinstance(value, datetime) else value


def _type(name: str) -> Any:
    """The type of a column; enumerations are read as text."""
    return sa.DateTime(timezone=True) if name == "clocked_time" else sa.Integer() if name == "every" else sa.String()
