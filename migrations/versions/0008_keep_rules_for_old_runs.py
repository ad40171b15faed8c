"""Keep for how long an admin wants to keep runs of each state."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008_retention"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "run_retention",
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("days", sa.Integer(), nullable=True, comment="None: for ever"),
        sa.PrimaryKeyConstraint("state"),
    )


def downgrade() -> None:
    op.drop_table("run_retention")
