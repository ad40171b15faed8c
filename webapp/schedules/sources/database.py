"""Imports the schedules of another database: django-celery-beat's, sqlalchemy-celery-beat's, or Beatdesk's.

Which it is, its tables say. The columns are those of whichever version of the library created them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from webapp.config import with_driver
from webapp.database.dialects import is_sqlite
from webapp.database.engine import SCHEMA_MAP, engine_options
from webapp.database.moments import utc
from webapp.recurrence.fields import FIELD_NAMES
from webapp.schedule_store.definition import Kind
from webapp.schedule_store.rows import DETAILS, KINDS, TASKS, select_schedules
from webapp.schedule_store.secret_arguments import exported
from webapp.schedule_store.stored import load
from webapp.schedules.sources.given import Given, check_names, refuse
from webapp.schedules.sources.library import RULES, from_row

SCHEMA = "celery_schema"
DJANGO = "django_celery_beat_"
RULE_COLUMNS: dict[str, tuple[str, ...]] = {
    Kind.INTERVAL: ("every", "period"),
    Kind.CRONTAB: (*FIELD_NAMES, "timezone"),
    Kind.SOLAR: ("event", "latitude", "longitude"),
    Kind.CLOCKED: ("clocked_time",),
}
_NO_RULE = "The row of its schedule is missing."


def from_database(url: str, now: datetime, timezone: str = "UTC") -> list[Given]:
    """All schedules of a database. Raises Invalid if it cannot be read; the message does not contain the URL.

    `timezone` is that of times which the database of a Django project keeps without one.
    """
    url = with_driver(url)
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
            return check_names(_read_schedules(connection, now, timezone))
    except sa.exc.DatabaseError as error:
        reason = " ".join(str(error.orig).split())
        raise refuse(f"The database cannot be read: {reason[:300]}.") from None
    finally:
        engine.dispose()


def _read_schedules(connection: sa.Connection, now: datetime, timezone: str) -> list[Given]:
    inspector = sa.inspect(connection)
    if inspector.has_table(f"{DJANGO}periodictask"):
        return _django_rows(connection, now, timezone)
    if inspector.has_table(DETAILS.name):
        own = connection.execution_options(schema_translate_map=SCHEMA_MAP)
        found = load(own, select_schedules().order_by(TASKS.c.name))
        return [Given(one.name, exported(one.snapshot), anchor=one.row.anchor) for one in found]
    schemas = [None] if is_sqlite(connection) else [None, SCHEMA]
    schema = next((one for one in schemas if inspector.has_table(TASKS.name, schema=one)), "")
    if schema == "":
        raise refuse(f"The database has no table {TASKS.name} or {DJANGO}periodictask.")
    return _library_rows(connection, schema, now)


def _library_rows(connection: sa.Connection, schema: str | None, now: datetime) -> list[Given]:
    """The rows of sqlalchemy-celery-beat, whose times are all UTC; SQLite returns them without a time zone."""
    rules = _rules(connection, "celery_", schema, RULE_COLUMNS)
    rules = {key: {name: _aware(value) for name, value in rule.items()} for key, rule in rules.items()}
    found: list[Given] = []
    for task in _tasks(connection, TASKS.name, schema, {"discriminator", "schedule_id"}):
        values = {name: _aware(value) for name, value in task.items()}
        named = KINDS.get(values["discriminator"])
        rule = rules.get((named, values["schedule_id"])) if named else None
        if named is None or rule is None:
            found.append(Given(values["name"], error=_NO_RULE))
        else:
            found.append(from_row(values, named.value, rule, now, None, timezone="UTC"))
    return found


def _django_rows(connection: sa.Connection, now: datetime, timezone: str) -> list[Given]:
    """The rows of django-celery-beat; those of old versions have fewer kinds of rules, and crontabs without a zone."""
    tasks = list(_tasks(connection, f"{DJANGO}periodictask", None, {"interval_id", "crontab_id"}))
    kinds = [kind for kind in RULES if tasks and f"{kind}_id" in tasks[0]]
    rules = _rules(connection, DJANGO, None, {kind: RULE_COLUMNS[kind] for kind in kinds})
    found: list[Given] = []
    for task in tasks:
        named = [kind for kind in kinds if task[f"{kind}_id"] is not None]
        rule = rules.get((named[0], task[f"{named[0]}_id"])) if len(named) == 1 else None
        if len(named) != 1:
            found.append(Given(task["name"], error="It refers to no schedule or to several."))
        elif rule is None:
            found.append(Given(task["name"], error=_NO_RULE))
        else:
            found.append(from_row(task, named[0], rule, now, None, timezone=timezone))
    return found


def _rules(
    connection: sa.Connection, prefix: str, schema: str | None, kinds: Mapping[str, Sequence[str]]
) -> dict[tuple[str, int], dict[str, Any]]:
    """The rows of the tables of rules, by kind and id, with those of the columns that are there."""
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for kind, columns in kinds.items():
        table = sa.Table(f"{prefix}{kind}schedule", sa.MetaData(), schema=schema, autoload_with=connection)
        chosen = [sa.type_coerce(table.c[name], _type(name)).label(name) for name in columns if name in table.c]
        for row in connection.execute(sa.select(table.c.id, *chosen)).mappings():
            found[kind, row["id"]] = {str(name): value for name, value in row.items() if name != "id"}
    return found


def _tasks(connection: sa.Connection, name: str, schema: str | None, needed: set[str]) -> Iterator[dict[str, Any]]:
    """The rows of the table of tasks by name. Raises Invalid if a needed column is missing."""
    table = sa.Table(name, sa.MetaData(), schema=schema, autoload_with=connection)
    if missing := needed - set(table.c.keys()):
        raise refuse(f"Its table {name} has no {' and no '.join(sorted(missing))}: update the library there first.")
    for row in connection.execute(sa.select(table).order_by(table.c.name)).mappings():
        yield {str(column): value for column, value in row.items()}


def _aware(value: Any) -> Any:
    return utc(value) if isinstance(value, datetime) else value


def _type(name: str) -> Any:
    """The type of a column; enumerations are read as text."""
    return sa.DateTime(timezone=True) if name == "clocked_time" else sa.Integer() if name == "every" else sa.String()
