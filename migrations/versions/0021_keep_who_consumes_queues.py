"""Keep who consumes which queue, and whether it claims runs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021_consumers"
down_revision = "0020_installation"
branch_labels = None
depends_on = None


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "queue_consumers",
        sa.Column("queue", sa.String(length=255), nullable=False),
        sa.Column("node", sa.String(length=255), nullable=False, comment="Celery's node name"),
        sa.Column("claims", sa.Boolean(), nullable=False, comment="Whether it is a worker of ours"),
        sa.Column("first_seen_at", moment, nullable=False),
        sa.Column("seen_at", moment, nullable=False, comment="When it answered last"),
        sa.PrimaryKeyConstraint("queue", "node", "claims"),
    )


def downgrade() -> None:
    op.drop_table("queue_consumers")
