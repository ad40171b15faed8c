"""Keep since when a schedule is broken, and find the queues in which runs wait without reading the runs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017_since"
down_revision = "0016_autoscaling"
branch_labels = None
depends_on = None


def upgrade() -> None:
    comment = "When that was first noticed; means nothing while it can fire"
    op.add_column(
        "schedule_progress", sa.Column("broken_since", sa.DateTime(timezone=True), nullable=True, comment=comment)
    )
    where = sa.text("state = 'queued'")
    op.create_index(
        "ix_runs_waiting", "runs", ["queue", "created_at"], unique=False, sqlite_where=where, postgresql_where=where
    )


def downgrade() -> None:
    op.drop_index("ix_runs_waiting", table_name="runs")
    op.drop_column("schedule_progress", "broken_since")
