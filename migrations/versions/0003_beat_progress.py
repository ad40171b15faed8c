"""Let beat resume without computing, and find the runs of a schedule that have not ended.

`schedule_progress.revision` is the revision of the schedule for which `next_due_at` was computed. On SQLite a change is
now noted to the millisecond: to the second, a due time right before an edit would seem to come after it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

UNENDED = sa.text("schedule_id IS NOT NULL AND state IN ('held', 'queued', 'started', 'retrying')")
PRECISE = "strftime('%Y-%m-%d %H:%M:%f000', 'now')"
COARSE = "CURRENT_TIMESTAMP"


def upgrade() -> None:
    comment = "Of the schedule that next_due_at is of"
    op.add_column("schedule_progress", sa.Column("revision", sa.BigInteger(), nullable=True, comment=comment))
    op.create_index("ix_runs_unended", "runs", ["schedule_id"], sqlite_where=UNENDED, postgresql_where=UNENDED)
    _replace_triggers(COARSE, PRECISE)


def downgrade() -> None:
    _replace_triggers(PRECISE, COARSE)
    op.drop_index("ix_runs_unended", "runs")
    op.drop_column("schedule_progress", "revision")


def _replace_triggers(former: str, fresh: str) -> None:
    connection = op.get_bind()
    if connection.dialect.name != "sqlite":
        return
    plain = "(schedule_id, revision) VALUES (NEW.id, (SELECT revision FROM schedule_revision WHERE id = 1))"
    stamped = (
        "(schedule_id, changed_at, revision) "
        f"VALUES (NEW.id, {PRECISE}, (SELECT revision FROM schedule_revision WHERE id = 1))"
    )
    query = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'beatdesk_%'"
    for name, text in connection.exec_driver_sql(query).all():
        changed = text.replace(f"changed_at = {former}", f"changed_at = {fresh}")
        pair = (plain, stamped) if fresh == PRECISE else (stamped, plain)
        changed = changed.replace(*pair)
        if changed != text:
            connection.exec_driver_sql(f"DROP TRIGGER {name}")
            connection.exec_driver_sql(changed)
