"""Index each part of three letters of the words of schedules, for searches by a part of a text.

Extensions of PostgreSQL that do this are not everywhere; a function and one of its own indexes are. SQLite brings it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014_grams"
down_revision = "0013_families"
branch_labels = None
depends_on = None

# Its cost, far above the true one, keeps PostgreSQL from calling it for each row where it could look into the index.
FUNCTION = """CREATE FUNCTION beatdesk_grams(words text) RETURNS text[]
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE COST 10000 AS $$
        SELECT array_agg(DISTINCT substr($1, place, 3)) FROM generate_series(1, length($1) - 2) AS place
    $$"""
# What was written lately is kept in a list that each search reads whole: a short one.
POSTGRESQL = (
    FUNCTION,
    """CREATE INDEX ix_schedule_words_grams ON schedule_words USING gin (beatdesk_grams(words))
    WITH (gin_pending_list_limit = 256)""",
)
_OLD = "INSERT INTO schedule_grams (schedule_grams, rowid, words) VALUES ('delete', OLD.schedule_id, OLD.words)"
_NEW = "INSERT INTO schedule_grams (rowid, words) VALUES (NEW.schedule_id, NEW.words)"
# The index keeps no texts of its own, so it is told what it has to forget.
SQLITE = (
    """CREATE VIRTUAL TABLE schedule_grams
    USING fts5(words, content='schedule_words', content_rowid='schedule_id', tokenize='trigram')""",
    "INSERT INTO schedule_grams (schedule_grams) VALUES ('rebuild')",
    f"CREATE TRIGGER beatdesk_grams_inserted AFTER INSERT ON schedule_words BEGIN {_NEW}; END",
    f"CREATE TRIGGER beatdesk_grams_updated AFTER UPDATE ON schedule_words BEGIN {_OLD}; {_NEW}; END",
    f"CREATE TRIGGER beatdesk_grams_deleted AFTER DELETE ON schedule_words BEGIN {_OLD}; END",
)


def upgrade() -> None:
    for statement in POSTGRESQL if _on_postgresql() else SQLITE:
        op.execute(sa.text(statement))


def downgrade() -> None:
    if _on_postgresql():
        op.execute(sa.text("DROP INDEX ix_schedule_words_grams"))
        op.execute(sa.text("DROP FUNCTION beatdesk_grams(text)"))
        return
    for name in ("inserted", "updated", "deleted"):
        op.execute(sa.text(f"DROP TRIGGER beatdesk_grams_{name}"))
    op.execute(sa.text("DROP TABLE schedule_grams"))


def _on_postgresql() -> bool:
    return op.get_bind().dialect.name == "postgresql"
