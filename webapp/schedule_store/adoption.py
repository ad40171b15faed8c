"""Taking over the tables that sqlalchemy-celery-beat made by itself, with the schedules in them. For the migrations.

On PostgreSQL the library keeps its tables in the schema `celery_schema`. They are moved, with everything in them, to
where ours are; a view of the same name stays behind for each, through which other programs go on reading and writing.
Elsewhere, or with the library's setting for another schema, tables in the default schema are used where they are.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy_celery_beat.models import ModelBase

SCHEMA = "celery_schema"
TABLES = tuple(table.name for table in ModelBase.metadata.sorted_tables if table.schema == SCHEMA)
TYPES = ("period", "solarevent")


def adopt(connection: sa.Connection) -> set[str]:
    """Move what is to be moved; gives the library's tables that are there now.

    Raises RuntimeError for tables of a version of the library whose columns are not those of ours.
    """
    if SCHEMA in sa.inspect(connection).get_schema_names():
        _move(connection)
    there = set(sa.inspect(connection).get_table_names()) & set(TABLES)
    for name in sorted(there):
        _check_columns(connection, name)
    return there


def release(connection: sa.Connection) -> None:
    """Take the views away, so that their tables can be dropped."""
    if SCHEMA in sa.inspect(connection).get_schema_names():
        for name in set(sa.inspect(connection).get_view_names(SCHEMA)) & set(TABLES):
            connection.exec_driver_sql(f"DROP VIEW {SCHEMA}.{name}")


def _move(connection: sa.Connection) -> None:
    here = set(sa.inspect(connection).get_table_names())
    home = connection.exec_driver_sql("SELECT current_schema()").scalar_one()
    for name in sorted(set(sa.inspect(connection).get_table_names(SCHEMA)) & set(TABLES)):
        if name in here:
            raise RuntimeError(f"{name} is in the schema {SCHEMA} and in {home}: remove or rename one of the two.")
        # Its indexes, its constraints and the sequence of its numbers go along.
        connection.exec_driver_sql(f'ALTER TABLE {SCHEMA}.{name} SET SCHEMA "{home}"')
        connection.exec_driver_sql(f'CREATE VIEW {SCHEMA}.{name} AS SELECT * FROM "{home}".{name}')  # noqa: S608 - names of tables
    query = (
        "SELECT typname FROM pg_type JOIN pg_namespace n ON n.oid = typnamespace WHERE nspname = '{}' AND typtype = 'e'"
    )
    for name in set(connection.exec_driver_sql(query.format(SCHEMA)).scalars()) & set(TYPES):
        connection.exec_driver_sql(f'ALTER TYPE {SCHEMA}.{name} SET SCHEMA "{home}"')


def _check_columns(connection: sa.Connection, name: str) -> None:
    wanted = {column.name for column in ModelBase.metadata.tables[f"{SCHEMA}.{name}"].columns}
    missing = wanted - {column["name"] for column in sa.inspect(connection).get_columns(name)}
    if missing:
        raise RuntimeError(
            f"{name} is there without {', '.join(sorted(missing))}: an older sqlalchemy-celery-beat made it. Bring it "
            "up to date with that library, or let `flask schedules import --database` read it into a fresh database."
        )
