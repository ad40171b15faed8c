"""Keep secret arguments of runs encrypted, beside the masked ones."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009_sealed"
down_revision = "0008_retention"
branch_labels = None
depends_on = None


def upgrade() -> None:
    comment = "Encrypted: the arguments, where some are secret"
    op.add_column("runs", sa.Column("sealed", sa.Text(), nullable=True, comment=comment))


def downgrade() -> None:
    op.drop_column("runs", "sealed")
