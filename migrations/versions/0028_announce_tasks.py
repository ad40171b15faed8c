"""What the apps of other projects announce of their tasks: parameters, docstrings, queues and secrets."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0028_announced"
down_revision = "0027_adopted"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "announced_tasks",
        sa.Column("app", sa.String(length=255), nullable=True, comment="The name of the app that announced it"),
    )
    op.add_column(
        "announced_tasks",
        sa.Column("description", sa.Text(), nullable=True, comment="JSON; NULL: only its name is known"),
    )
    op.add_column(
        "announced_tasks",
        sa.Column("announced_at", sa.DateTime(timezone=True), nullable=True, comment="When it was described so first"),
    )


def downgrade() -> None:
    op.drop_column("announced_tasks", "announced_at")
    op.drop_column("announced_tasks", "description")
    op.drop_column("announced_tasks", "app")
