"""Widen the state of a run for "unconfirmed", and keep the id that another program gave its message."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015_unconfirmed"
down_revision = "0014_grams"
branch_labels = None
depends_on = None

TABLES = ("runs", "run_retention")


def upgrade() -> None:
    _widen(10, 12)
    comment = "The task id that another program gave, where it is not the id of this row"
    op.add_column("runs", sa.Column("external_id", sa.String(length=255), nullable=True, comment=comment))
    where = sa.text("external_id IS NOT NULL")
    op.create_index(
        "ix_runs_external", "runs", ["external_id"], unique=False, sqlite_where=where, postgresql_where=where
    )


def downgrade() -> None:
    op.execute("UPDATE runs SET state = 'failed', error = 'unconfirmed' WHERE state = 'unconfirmed'")
    op.execute("DELETE FROM run_retention WHERE state = 'unconfirmed'")
    op.drop_index("ix_runs_external", table_name="runs")
    op.drop_column("runs", "external_id")
    _widen(12, 10)


def _widen(before: int, after: int) -> None:
    if op.get_bind().dialect.name == "postgresql":
        for table in TABLES:
            op.alter_column(table, "state", type_=sa.String(after), existing_type=sa.String(before))
        return
    # SQLite does not enforce a length, and would have to copy a million rows to change the declared one. It documents
    # this way for changes of the schema's text that the stored rows do not depend on.
    op.execute("PRAGMA writable_schema=ON")
    for table in TABLES:
        op.execute(
            f"UPDATE sqlite_master SET sql = replace(sql, 'state VARCHAR({before})', 'state VARCHAR({after})') "
            f"WHERE type = 'table' AND name = '{table}'"
        )
    op.execute("PRAGMA writable_schema=RESET")
