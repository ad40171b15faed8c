"""Pauses of tags and of everything, and schedules that a run of failures has paused.

A change of `pauses` takes a revision like any edit of a schedule, so that beat sees it at once and tells when it has it
in force. What beat notes there itself (how far it has caught up, when it was done) takes none.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011_pausing"
down_revision = "0010_missed"
branch_labels = None
depends_on = None

PAUSED = sa.text("pause_id IS NOT NULL")
UNSETTLED = sa.text("settled_at IS NULL")
FAILING = sa.text("failing_since IS NOT NULL")
EDITED = "tags, reason, starts_at, ends_at, on_resume, ended_at"
DETAILS = ("paused_by", "failing_since", "failures_from")


def upgrade() -> None:
    op.create_table(
        "pauses",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("schedule_id", sa.Integer(), nullable=True, comment="Of one schedule only: noted when it ended"),
        sa.Column("tags", sa.Text(), server_default="[]", nullable=False, comment="JSON list; empty: everything"),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=True, comment="None: until it is ended"),
        sa.Column("on_resume", sa.String(length=10), server_default="skip", nullable=False),
        sa.Column("author", sa.String(length=255), server_default="", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.current_timestamp(), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True, comment="Somebody ended it"),
        sa.Column("ended_by", sa.String(length=255), nullable=True),
        sa.Column("caught_up_to", sa.Integer(), server_default="0", nullable=False, comment="The last schedule done"),
        sa.Column("caught_up", sa.Integer(), server_default="0", nullable=False, comment="How many runs that made"),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True, comment="Beat has nothing more to do"),
        sa.Column("revision", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), server_default=sa.func.current_timestamp(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_pauses_unsettled", "pauses", ["starts_at"], sqlite_where=UNSETTLED, postgresql_where=UNSETTLED)
    op.add_column("runs", sa.Column("pause_id", sa.Integer(), nullable=True, comment="The pause that it fell into"))
    columns = ["pause_id", "schedule_id", "due_at"]
    op.create_index("ix_runs_paused", "runs", columns, sqlite_where=PAUSED, postgresql_where=PAUSED)
    op.add_column("schedule_details", sa.Column("paused_by", sa.String(length=255), nullable=True))
    since = "Paused then by its failures; None after the next success"
    op.add_column(
        "schedule_details", sa.Column("failing_since", sa.DateTime(timezone=True), nullable=True, comment=since)
    )
    counted = "Failures before that do not count"
    op.add_column(
        "schedule_details", sa.Column("failures_from", sa.DateTime(timezone=True), nullable=True, comment=counted)
    )
    op.create_index(
        "ix_details_failing", "schedule_details", ["schedule_id"], sqlite_where=FAILING, postgresql_where=FAILING
    )
    for statement in POSTGRESQL if op.get_bind().dialect.name == "postgresql" else SQLITE:
        op.execute(sa.text(statement.replace(":", "\\:")))


def downgrade() -> None:
    op.drop_table("pauses")
    if op.get_bind().dialect.name == "postgresql":
        op.execute(sa.text("DROP FUNCTION beatdesk_pause_written()"))
        op.execute(sa.text("DROP FUNCTION beatdesk_pause_deleted()"))
    op.drop_index("ix_details_failing", "schedule_details")
    for name in reversed(DETAILS):
        op.drop_column("schedule_details", name)
    op.drop_index("ix_runs_paused", "runs")
    op.drop_column("runs", "pause_id")


BUMP = "UPDATE schedule_revision SET revision = revision + 1 WHERE id = 1;"
STAMP = (
    "UPDATE pauses SET revision = (SELECT revision FROM schedule_revision WHERE id = 1), "
    "changed_at = strftime('%Y-%m-%d %H:%M:%f000', 'now') WHERE id = NEW.id;"
)
SQLITE = [
    f"CREATE TRIGGER beatdesk_pause_inserted AFTER INSERT ON pauses BEGIN {BUMP} {STAMP} END",
    f"CREATE TRIGGER beatdesk_pause_updated AFTER UPDATE OF {EDITED} ON pauses BEGIN {BUMP} {STAMP} END",
    f"CREATE TRIGGER beatdesk_pause_deleted AFTER DELETE ON pauses BEGIN {BUMP} END",
]
POSTGRESQL = [
    """CREATE FUNCTION beatdesk_pause_written() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        NEW.revision := beatdesk_next_revision();
        NEW.changed_at := clock_timestamp();
        RETURN NEW;
    END $$""",
    """CREATE FUNCTION beatdesk_pause_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM beatdesk_next_revision();
        RETURN NULL;
    END $$""",
    f"""CREATE TRIGGER beatdesk_change BEFORE INSERT OR UPDATE OF {EDITED} ON pauses
    FOR EACH ROW EXECUTE FUNCTION beatdesk_pause_written()""",
    """CREATE TRIGGER beatdesk_presence AFTER DELETE ON pauses
    FOR EACH ROW EXECUTE FUNCTION beatdesk_pause_deleted()""",
]
