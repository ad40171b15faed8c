"""Note a change of who has paused a schedule, or everything: beat writes it into each run that it skips for that.

And of whose a pause was, for the pauses of single schedules.
"""

from __future__ import annotations

from alembic import op

revision = "0025_watched"
down_revision = "0024_phase"
branch_labels = None
depends_on = None

WATCHED = {"schedule_details": ("detail", "paused_by"), "pauses": ("pause", "author, schedule_id")}


def upgrade() -> None:
    for table, (name, columns) in WATCHED.items():
        _replace(table, name, "UPDATE OF ", f"UPDATE OF {columns}, ")


def downgrade() -> None:
    for table, (name, columns) in WATCHED.items():
        _replace(table, name, f"UPDATE OF {columns}, ", "UPDATE OF ")


def _replace(table: str, name: str, former: str, fresh: str) -> None:
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        query = "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgname = 'beatdesk_change' AND "
        query += f"tgrelid = CAST('{table}' AS regclass)"
        drop = f"DROP TRIGGER beatdesk_change ON {table}"
    else:
        query = f"SELECT sql FROM sqlite_master WHERE type = 'trigger' AND name = 'beatdesk_{name}_updated'"
        drop = f"DROP TRIGGER beatdesk_{name}_updated"
    text = connection.exec_driver_sql(query).scalar_one()
    connection.exec_driver_sql(drop)
    connection.exec_driver_sql(text.replace(former, fresh))
