"""How Alembic reaches the database: through the application's engine, one transaction for each migration."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context

from webapp.config import ConfigError
from webapp.database.engine import Base
from webapp.extensions import db
from webapp.models import compared, plain_metadata

TARGET = plain_metadata()
# Of all tables, those that sqlalchemy-celery-beat does not declare in its schema.
OURS = {table.name for table in Base.metadata.sorted_tables if table.schema is None}
# Tables that every version of ours has, and hardly anybody else together.
MARKS = {"audit", "runs", "schedule_details"}


def require_ours(connection: sa.Connection) -> None:
    """Leave a database alone in which another program keeps tables of our names. Raises ConfigError."""
    there = set(sa.inspect(connection).get_table_names())
    version = "alembic_version"
    query = f"SELECT version_num FROM {version}"
    found = set(connection.exec_driver_sql(query).scalars()) if version in there else set()
    ours = there & OURS
    if there.issuperset(MARKS) if found else not ours:
        return
    theirs = f"{version} is {', '.join(sorted(found))}" if found else f"tables are {', '.join(sorted(ours))}"
    raise ConfigError(
        f"DATABASE_URL names a database of another program: its {theirs}. Give Beatdesk a database of its own; nothing "
        "was changed."
    )


def run() -> None:
    """Apply migrations to the application's database."""
    engine: sa.Engine = db.engine
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            # Building an index may take longer than any page may; two releases at once must not both migrate.
            connection.exec_driver_sql("SET statement_timeout = 0")
            connection.exec_driver_sql("SELECT pg_advisory_lock(7203519862)")
            connection.commit()
        require_ours(connection)
        connection.rollback()
        context.configure(
            connection=connection,
            target_metadata=TARGET,
            transaction_per_migration=True,
            compare_type=True,
            compare_server_default=False,
            include_object=compared,
        )
        with context.begin_transaction():
            context.run_migrations()
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("SELECT pg_advisory_unlock(7203519862)")
            connection.commit()


run()
