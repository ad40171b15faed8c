"""Keep how far a run is, and the lines that its task wrote."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

COLUMNS = ("progress_done", "progress_total", "progress_text", "progress_at")


def upgrade() -> None:
    op.add_column("runs", sa.Column("progress_done", sa.Double(), nullable=True))
    op.add_column("runs", sa.Column("progress_total", sa.Double(), nullable=True, comment="None: nobody knows"))
    op.add_column("runs", sa.Column("progress_text", sa.Text(), nullable=True))
    op.add_column("runs", sa.Column("progress_at", sa.DateTime(timezone=True), nullable=True))
    op.create_table(
        "run_lines",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("run_id", sa.String(length=36), nullable=False),
        sa.Column("entry", sa.String(length=40), nullable=False, comment="Of the stream: told twice, kept once"),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("level", sa.String(length=10), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("run_id", "entry", name="uq_run_lines_entry"),
    )


def downgrade() -> None:
    op.drop_table("run_lines")
    for name in reversed(COLUMNS):
        op.drop_column("runs", name)
