"""Find schedules quickly: searched by a part of a text, and in the order of their task, last and next run."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012_search"
down_revision = "0011_pausing"
branch_labels = None
depends_on = None

INDEXES = (
    ("ix_periodictask_task", "celery_periodictask", ["task", "name"], None),
    ("ix_schedule_progress_next", "schedule_progress", ["next_due_at", "schedule_id"], None),
    ("ix_schedule_progress_last", "schedule_progress", ["last_due_at", "schedule_id"], None),
    ("ix_schedule_progress_broken", "schedule_progress", ["schedule_id"], "broken IS NOT NULL"),
    ("ix_schedule_details_paused", "schedule_details", ["schedule_id"], "paused_at IS NOT NULL"),
)
NEWLINE = {"sqlite": "char(10)", "postgresql": "chr(10)"}


def upgrade() -> None:
    op.create_table(
        "schedule_words",
        sa.Column("schedule_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("schedule_id"),
    )
    for name, table, columns, condition in INDEXES:
        where = None if condition is None else sa.text(condition)
        op.create_index(name, table, columns, unique=False, sqlite_where=where, postgresql_where=where)
    dialect = op.get_bind().dialect.name
    op.execute(sa.text(written(dialect, "true" if dialect == "postgresql" else "1")))
    for statement in POSTGRESQL if dialect == "postgresql" else SQLITE:
        op.execute(sa.text(statement))


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute(sa.text("DROP TRIGGER beatdesk_words ON celery_periodictask"))
        op.execute(sa.text("DROP TRIGGER beatdesk_words ON schedule_details"))
        op.execute(sa.text("DROP TRIGGER beatdesk_words_gone ON celery_periodictask"))
        for function in ("task_words", "detail_words", "words_gone"):
            op.execute(sa.text(f"DROP FUNCTION beatdesk_{function}()"))
    else:
        for name in ("detail_inserted", "detail_updated", "task_updated", "task_deleted"):
            op.execute(sa.text(f"DROP TRIGGER beatdesk_words_{name}"))
    for name, table, _, _ in INDEXES:
        op.drop_index(name, table_name=table)
    op.drop_table("schedule_words")


def written(dialect: str, which: str) -> str:
    """Write the words of some schedules. `true` because SQLite must tell an upsert from a join."""
    between = f" || {NEWLINE[dialect]} || "
    words = between.join(("p.name", "p.task", "coalesce(p.description, '')", "coalesce(d.tags, '')"))
    return (
        f"INSERT INTO schedule_words (schedule_id, words) SELECT p.id, lower({words}) "
        f"FROM celery_periodictask p JOIN schedule_details d ON d.schedule_id = p.id WHERE {which} "
        "ON CONFLICT (schedule_id) DO UPDATE SET words = excluded.words"
    )


SQLITE = [
    f"""CREATE TRIGGER beatdesk_words_detail_inserted AFTER INSERT ON schedule_details BEGIN
        {written("sqlite", "p.id = NEW.schedule_id")};
    END""",
    f"""CREATE TRIGGER beatdesk_words_detail_updated AFTER UPDATE OF tags ON schedule_details BEGIN
        {written("sqlite", "p.id = NEW.schedule_id")};
    END""",
    f"""CREATE TRIGGER beatdesk_words_task_updated AFTER UPDATE OF name, task, description ON celery_periodictask BEGIN
        {written("sqlite", "p.id = NEW.id")};
    END""",
    """CREATE TRIGGER beatdesk_words_task_deleted AFTER DELETE ON celery_periodictask BEGIN
        DELETE FROM schedule_words WHERE schedule_id = OLD.id;
    END""",
]
# A schedule's row of details is made by a trigger when the schedule is, so its words follow from that.
POSTGRESQL = [
    f"""CREATE FUNCTION beatdesk_detail_words() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        {written("postgresql", "p.id = NEW.schedule_id")};
        RETURN NULL;
    END $$""",
    f"""CREATE FUNCTION beatdesk_task_words() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        {written("postgresql", "p.id = NEW.id")};
        RETURN NULL;
    END $$""",
    """CREATE FUNCTION beatdesk_words_gone() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        DELETE FROM schedule_words WHERE schedule_id = OLD.id;
        RETURN NULL;
    END $$""",
    """CREATE TRIGGER beatdesk_words AFTER INSERT OR UPDATE OF tags ON schedule_details
    FOR EACH ROW EXECUTE FUNCTION beatdesk_detail_words()""",
    """CREATE TRIGGER beatdesk_words AFTER UPDATE OF name, task, description ON celery_periodictask
    FOR EACH ROW EXECUTE FUNCTION beatdesk_task_words()""",
    """CREATE TRIGGER beatdesk_words_gone AFTER DELETE ON celery_periodictask
    FOR EACH ROW EXECUTE FUNCTION beatdesk_words_gone()""",
]
