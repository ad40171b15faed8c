"""Give the installation an id."""

from __future__ import annotations

import uuid

import sqlalchemy as sa
from alembic import op

revision = "0020_installation"
down_revision = "0019_own_queue"
branch_labels = None
depends_on = None


def upgrade() -> None:
    table = op.create_table(
        "installation",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_installation")),
    )
    op.execute(sa.insert(table).values(id=str(uuid.uuid4())))


def downgrade() -> None:
    op.drop_table("installation")
