"""Find the schedules of a rule quickly.

Whether a rule row still has a schedule is asked at each edit, and by the triggers at each change of a rule; without
this index both read every schedule.
"""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_periodictask_rule", "celery_periodictask", ["discriminator", "schedule_id"])


def downgrade() -> None:
    op.drop_index("ix_periodictask_rule", table_name="celery_periodictask")
