"""Note every change of a schedule, whoever makes it.

Triggers give each changed schedule the next revision, so that beat sees edits made by pages, by SQL and by other
programs alike, without comparing clocks or whole tables. The revision is taken under the lock of one row that is kept
until the commit: a lower revision can never become visible after a higher one.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# What beat's own bookkeeping writes (last_run_at, total_run_count, date_changed) is no change.
TASK_COLUMNS = (
    "name, task, args, kwargs, queue, exchange, routing_key, headers, priority, expires, expire_seconds, one_off, "
    "start_time, enabled, discriminator, schedule_id"
)
DETAIL_COLUMNS = (
    "timezone, anchor, ends_at, max_runs, jitter, misfire, misfire_window, overlap, owner, code_definition, tags, "
    "paused_at, paused_until, pause_reason, failure_budget, version"
)
RULES = ("intervalschedule", "crontabschedule", "solarschedule", "clockedschedule")


def upgrade() -> None:
    op.execute(sa.text("INSERT INTO schedule_revision (id, revision) VALUES (1, 0)"))
    op.execute(sa.text("INSERT INTO beat_lease (id, token) VALUES (1, 0)"))
    statements = POSTGRESQL if op.get_bind().dialect.name == "postgresql" else sqlite()
    for statement in statements:
        op.execute(sa.text(statement.replace(":", "\\:")))
    for statement in ADOPT[op.get_bind().dialect.name]:
        op.execute(sa.text(statement.replace(":", "\\:")))


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        for table in ("celery_periodictask", "schedule_details", *(f"celery_{rule}" for rule in RULES)):
            op.execute(sa.text(f"DROP TRIGGER IF EXISTS beatdesk_change ON {table}"))
            op.execute(sa.text(f"DROP TRIGGER IF EXISTS beatdesk_presence ON {table}"))
        for function in ("schedule_written", "schedule_deleted", "rule_written", "detail_written", "next_revision"):
            op.execute(sa.text(f"DROP FUNCTION IF EXISTS beatdesk_{function}()"))
        return
    for name in ("schedule_inserted", "schedule_updated", "schedule_deleted", "detail_updated"):
        op.execute(sa.text(f"DROP TRIGGER IF EXISTS beatdesk_{name}"))
    for rule in RULES:
        op.execute(sa.text(f"DROP TRIGGER IF EXISTS beatdesk_{rule}_updated"))


BUMP = "UPDATE schedule_revision SET revision = revision + 1 WHERE id = 1;"
LATEST = "(SELECT revision FROM schedule_revision WHERE id = 1)"


def sqlite() -> list[str]:
    """One bump for each row: in SQLite that is a change of one page in memory."""
    stamp = f"UPDATE schedule_details SET revision = {LATEST}, changed_at = CURRENT_TIMESTAMP"
    statements = [
        f"""CREATE TRIGGER beatdesk_schedule_inserted AFTER INSERT ON celery_periodictask BEGIN
            {BUMP}
            DELETE FROM schedule_tombstones WHERE schedule_id = NEW.id;
            INSERT INTO schedule_details (schedule_id, revision) VALUES (NEW.id, {LATEST})
            ON CONFLICT (schedule_id) DO UPDATE SET revision = excluded.revision;
        END""",
        f"""CREATE TRIGGER beatdesk_schedule_updated AFTER UPDATE OF {TASK_COLUMNS} ON celery_periodictask BEGIN
            {BUMP}
            {stamp} WHERE schedule_id = NEW.id;
        END""",
        f"""CREATE TRIGGER beatdesk_schedule_deleted AFTER DELETE ON celery_periodictask BEGIN
            {BUMP}
            DELETE FROM schedule_details WHERE schedule_id = OLD.id;
            DELETE FROM schedule_progress WHERE schedule_id = OLD.id;
            INSERT INTO schedule_tombstones (schedule_id, revision) VALUES (OLD.id, {LATEST})
            ON CONFLICT (schedule_id) DO UPDATE SET revision = excluded.revision;
        END""",
        f"""CREATE TRIGGER beatdesk_detail_updated AFTER UPDATE OF {DETAIL_COLUMNS} ON schedule_details BEGIN
            {BUMP}
            {stamp} WHERE schedule_id = NEW.schedule_id;
        END""",
    ]
    statements += [
        f"""CREATE TRIGGER beatdesk_{rule}_updated AFTER UPDATE ON celery_{rule} BEGIN
            {BUMP}
            {stamp} WHERE schedule_id IN (
                SELECT id FROM celery_periodictask WHERE discriminator = '{rule}' AND schedule_id = NEW.id
            );
        END"""
        for rule in RULES
    ]
    return statements


# One bump for each transaction, remembered in a setting that ends with it: bumping the same row once for each of
# 100,000 rows in one transaction would leave a chain of 100,000 versions to walk.
POSTGRESQL = [
    """CREATE FUNCTION beatdesk_next_revision() RETURNS bigint LANGUAGE plpgsql AS $$
    DECLARE
        given text := current_setting('beatdesk.revision', true);
        fresh bigint;
    BEGIN
        IF given IS NOT NULL AND given <> '' THEN
            RETURN given::bigint;
        END IF;
        UPDATE schedule_revision SET revision = revision + 1 WHERE id = 1 RETURNING revision INTO fresh;
        PERFORM set_config('beatdesk.revision', fresh::text, true);
        RETURN fresh;
    END $$""",
    """CREATE FUNCTION beatdesk_schedule_written() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'INSERT' THEN
            DELETE FROM schedule_tombstones WHERE schedule_id = NEW.id;
        END IF;
        INSERT INTO schedule_details (schedule_id, revision) VALUES (NEW.id, beatdesk_next_revision())
        ON CONFLICT (schedule_id) DO UPDATE SET revision = excluded.revision, changed_at = clock_timestamp();
        RETURN NULL;
    END $$""",
    """CREATE FUNCTION beatdesk_schedule_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        DELETE FROM schedule_details WHERE schedule_id = OLD.id;
        DELETE FROM schedule_progress WHERE schedule_id = OLD.id;
        INSERT INTO schedule_tombstones (schedule_id, revision) VALUES (OLD.id, beatdesk_next_revision())
        ON CONFLICT (schedule_id) DO UPDATE SET revision = excluded.revision;
        RETURN NULL;
    END $$""",
    """CREATE FUNCTION beatdesk_detail_written() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        NEW.revision := beatdesk_next_revision();
        NEW.changed_at := clock_timestamp();
        RETURN NEW;
    END $$""",
    """CREATE FUNCTION beatdesk_rule_written() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        UPDATE schedule_details SET revision = beatdesk_next_revision(), changed_at = clock_timestamp()
        WHERE schedule_id IN (
            SELECT id FROM celery_periodictask WHERE discriminator = TG_ARGV[0] AND schedule_id = NEW.id
        );
        RETURN NULL;
    END $$""",
    f"""CREATE TRIGGER beatdesk_change AFTER INSERT OR UPDATE OF {TASK_COLUMNS} ON celery_periodictask
    FOR EACH ROW EXECUTE FUNCTION beatdesk_schedule_written()""",
    """CREATE TRIGGER beatdesk_presence AFTER DELETE ON celery_periodictask
    FOR EACH ROW EXECUTE FUNCTION beatdesk_schedule_deleted()""",
    f"""CREATE TRIGGER beatdesk_change BEFORE UPDATE OF {DETAIL_COLUMNS} ON schedule_details
    FOR EACH ROW EXECUTE FUNCTION beatdesk_detail_written()""",
    *(
        f"""CREATE TRIGGER beatdesk_change AFTER UPDATE ON celery_{rule}
        FOR EACH ROW EXECUTE FUNCTION beatdesk_rule_written('{rule}')"""
        for rule in RULES
    ),
]
# Schedules that were there before, in a database of sqlalchemy-celery-beat: changed now, so that nothing is due that
# lies in the past.
ADOPT = {
    "sqlite": [
        BUMP,
        f"""INSERT INTO schedule_details (schedule_id, revision, changed_at)
        SELECT id, {LATEST}, strftime('%Y-%m-%d %H:%M:%f000', 'now') FROM celery_periodictask""",
    ],
    "postgresql": [
        """INSERT INTO schedule_details (schedule_id, revision, changed_at)
        SELECT id, beatdesk_next_revision(), clock_timestamp() FROM celery_periodictask""",
    ],
}
