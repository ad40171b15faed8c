"""Which workers are adopted, and which of their tasks are acknowledged late."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0027_adopted"
down_revision = "0026_observed"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "workers",
        sa.Column("kind", sa.String(length=10), server_default="ours", nullable=False, comment="ours, or adopted"),
    )
    op.add_column(
        "workers",
        sa.Column(
            "late_tasks", sa.Text(), nullable=True, comment="JSON list of the tasks acknowledged late; NULL: all"
        ),
    )


def downgrade() -> None:
    op.drop_column("workers", "late_tasks")
    op.drop_column("workers", "kind")
