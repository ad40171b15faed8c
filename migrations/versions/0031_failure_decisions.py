"""What people decided about kinds of failures."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0031_failure_decisions"
down_revision = "0028_announced"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "failure_decisions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("task", sa.String(length=255), nullable=False),
        sa.Column("exception", sa.String(length=80), nullable=False),
        sa.Column("place", sa.String(length=255), nullable=False, comment="File, line and function; empty: not known"),
        sa.Column("decision", sa.String(length=12), nullable=False),
        sa.Column("person", sa.String(length=255), nullable=False, comment="As the audit names who decided"),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=True, comment="The end of a snooze"),
        sa.Column("note", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("task", "exception", "place", name="uq_failure_decisions_kind"),
    )


def downgrade() -> None:
    op.drop_table("failure_decisions")
