"""Keep between what numbers of processes a worker scales, and how many it has."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016_autoscaling"
down_revision = "0015_unconfirmed"
branch_labels = None
depends_on = None

COLUMNS = {
    "autoscale_min": "None: it does not scale by itself",
    "autoscale_now": "How many runs it can execute now, where it scales by itself",
}


def upgrade() -> None:
    for name, comment in COLUMNS.items():
        op.add_column("workers", sa.Column(name, sa.Integer(), nullable=True, comment=comment))


def downgrade() -> None:
    for name in COLUMNS:
        op.drop_column("workers", name)
