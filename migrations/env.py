"""How Alembic reaches the database: through the application's engine, one transaction for each migration."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context

from webapp.extensions import db
from webapp.models import compared, plain_metadata

TARGET = plain_metadata()


def run() -> None:
    """Apply migrations to the application's database."""
    engine: sa.Engine = db.engine
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            # Building an index may take longer than any page may; two releases at once must not both migrate.
            connection.exec_driver_sql("SET statement_timeout = 0")
            connection.exec_driver_sql("SELECT pg_advisory_lock(7203519862)")
            connection.commit()
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
