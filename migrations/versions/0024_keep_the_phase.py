"""Keep the phase of intervals that another scheduler has fired: without a start, they begin at their last run.

Only where Beatdesk has not fired them yet, and only once: what beat itself notes as a last run moves no grid.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0024_phase"
down_revision = "0023_handled_forms"
branch_labels = None
depends_on = None

# In whole seconds: what another beat needed to notice that a run was due is no part of the phase. A last run that lies
# ahead would keep the schedule from firing until then.
SECOND = {
    "sqlite": "strftime('%Y-%m-%d %H:%M:%S.000000', {row}.last_run_at)",
    "postgresql": "date_trunc('second', {row}.last_run_at)",
}
NOW = {"sqlite": "strftime('%Y-%m-%d %H:%M:%f', 'now')", "postgresql": "clock_timestamp()"}
HEAD = {
    "sqlite": ("(schedule_id, changed_at, revision) VALUES (NEW.id, ", "(schedule_id, anchor, changed_at, revision)"),
    "postgresql": ("(schedule_id, revision) VALUES (NEW.id, ", "(schedule_id, anchor, revision)"),
}


def upgrade() -> None:
    connection = op.get_bind()
    dialect = connection.dialect.name
    keeps = "SELECT 1 FROM schedule_progress g WHERE g.schedule_id = p.id AND g.last_due_at IS NOT NULL"
    op.execute(
        f"UPDATE schedule_details SET anchor = (SELECT {phase(dialect, 'p')} FROM celery_periodictask p "
        "WHERE p.id = schedule_details.schedule_id) WHERE anchor IS NULL AND schedule_id IN (SELECT p.id "
        f"FROM celery_periodictask p WHERE {phase(dialect, 'p')} IS NOT NULL AND NOT EXISTS ({keeps}))"
    )
    _replace(connection, *_pair(dialect))


def downgrade() -> None:
    connection = op.get_bind()
    former, fresh = _pair(connection.dialect.name)
    _replace(connection, fresh, former)


def phase(dialect: str, row: str) -> str:
    """Where the grid of a row's interval begins, as an SQL expression."""
    second = SECOND[dialect].format(row=row)
    return (
        f"CASE WHEN {row}.discriminator = 'intervalschedule' AND {row}.start_time IS NULL "
        f"AND {second} <= {NOW[dialect]} THEN {second} END"
    )


def _pair(dialect: str) -> tuple[str, str]:
    """What a new row of details was given until now, and what it is given from now on."""
    former, columns = HEAD[dialect]
    return former, f"{columns} VALUES (NEW.id, {phase(dialect, 'NEW')}, "


def _replace(connection: sa.Connection, former: str, fresh: str) -> None:
    if connection.dialect.name == "postgresql":
        query = "SELECT pg_get_functiondef('beatdesk_schedule_written'::regproc)"
        text = connection.exec_driver_sql(query).scalar_one()
    else:
        query = "SELECT sql FROM sqlite_master WHERE type = 'trigger' AND name = 'beatdesk_schedule_inserted'"
        text = connection.exec_driver_sql(query).scalar_one()
        connection.exec_driver_sql("DROP TRIGGER beatdesk_schedule_inserted")
    connection.exec_driver_sql(text.replace(former, fresh))
