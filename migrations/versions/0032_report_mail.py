"""Who wants the morning report by email."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0032_report_mail"
down_revision = "0031_failure_decisions"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("users", sa.Column("wants_report_mail", sa.Boolean(), server_default=sa.false(), nullable=False))


def downgrade() -> None:
    op.drop_column("users", "wants_report_mail")
