"""Count the due times that were missed, beyond the time for which each one's row is kept."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010_missed"
down_revision = "0009_sealed"
branch_labels = None
depends_on = None


def upgrade() -> None:
    comment = "Due times noted as missed, ever"
    op.add_column(
        "beat_lease", sa.Column("missed", sa.BigInteger(), nullable=False, server_default="0", comment=comment)
    )


def downgrade() -> None:
    op.drop_column("beat_lease", "missed")
