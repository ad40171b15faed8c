"""Keep which group a run is a member of, and find a run's family quickly."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013_families"
down_revision = "0012_search"
branch_labels = None
depends_on = None

PARTIAL = (
    ("ix_runs_root", ["root_id", "created_at", "id"], "root_id IS NOT NULL"),
    ("ix_runs_group", ["group_id", "group_index"], "group_id IS NOT NULL"),
)


def upgrade() -> None:
    comment = "Of the group or chord it is a member of"
    op.add_column("runs", sa.Column("group_id", sa.String(length=36), nullable=True, comment=comment))
    op.add_column("runs", sa.Column("group_index", sa.Integer(), nullable=True))
    for name, columns, condition in PARTIAL:
        where = sa.text(condition)
        op.create_index(name, "runs", columns, unique=False, sqlite_where=where, postgresql_where=where)


def downgrade() -> None:
    for name, _, _ in PARTIAL:
        op.drop_index(name, table_name="runs")
    op.drop_column("runs", "group_index")
    op.drop_column("runs", "group_id")
