"""Find runs quickly: pages by state, task and schedule, retries and children, with a million runs kept."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

PARTIAL = (
    ("ix_runs_schedule_created", ["schedule_id", "created_at", "id"], "schedule_id IS NOT NULL"),
    ("ix_runs_retry_of", ["retry_of"], "retry_of IS NOT NULL"),
    ("ix_runs_parent", ["parent_id"], "parent_id IS NOT NULL"),
)


def upgrade() -> None:
    _replace("ix_runs_state_created", ["state", "created_at", "id"])
    _replace("ix_runs_task_created", ["task", "created_at", "id"])
    for name, columns, condition in PARTIAL:
        where = sa.text(condition)
        op.create_index(name, "runs", columns, unique=False, sqlite_where=where, postgresql_where=where)


def downgrade() -> None:
    for name, _, _ in PARTIAL:
        op.drop_index(name, table_name="runs")
    _replace("ix_runs_task_created", ["task", "created_at"])
    _replace("ix_runs_state_created", ["state", "created_at"])


def _replace(name: str, columns: list[str]) -> None:
    op.drop_index(name, table_name="runs")
    op.create_index(name, "runs", columns, unique=False)
