"""Which forms were handled, so that one that is sent twice is handled once."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0023_handled_forms"
down_revision = "0022_confirmed"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "handled_forms",
        sa.Column("digest", sa.String(length=64), nullable=False, comment="SHA-256 of user, form and key"),
        sa.Column("handled_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("location", sa.String(length=2048), nullable=True, comment="Where the response led to"),
        sa.PrimaryKeyConstraint("digest"),
    )
    op.create_index(op.f("ix_handled_forms_handled_at"), "handled_forms", ["handled_at"], unique=False)


def downgrade() -> None:
    op.drop_table("handled_forms")
