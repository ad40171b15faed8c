"""What other projects' workers say: that they are there, by task events, gaps in those, and their tasks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0026_observed"
down_revision = "0025_watched"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "observed_workers",
        sa.Column("node", sa.String(length=255), nullable=False, comment="Celery's node name"),
        sa.Column("pid", sa.Integer(), nullable=False, comment="Its main process; 0: it does not say"),
        sa.Column("software", sa.String(length=255), nullable=False, comment="As the worker names it"),
        sa.Column("active", sa.Integer(), nullable=True, comment="Runs that it executes"),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False, comment="Its last event, by our clock"),
        sa.Column("stopped_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("node", "pid"),
    )
    op.create_table(
        "event_gaps",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("node", sa.String(length=255), nullable=True, comment="NULL: all workers"),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lost", sa.Integer(), nullable=True, comment="Runs that began meanwhile, where that is known"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "announced_tasks",
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("node", sa.String(length=255), nullable=False, comment="Celery's node name"),
        sa.Column(
            "queue", sa.String(length=255), nullable=True, comment="Which of the queues that it consumes is used"
        ),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False, comment="When the worker named it last"),
        sa.PrimaryKeyConstraint("name", "node"),
    )
    op.create_index(op.f("ix_event_gaps_ended_at"), "event_gaps", ["ended_at"], unique=False)


def downgrade() -> None:
    op.drop_table("announced_tasks")
    op.drop_table("event_gaps")
    op.drop_table("observed_workers")
