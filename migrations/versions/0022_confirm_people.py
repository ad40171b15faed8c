"""Count the addresses of everybody who is there as confirmed: they were taken before anything asked for it."""

from __future__ import annotations

from alembic import op

revision = "0022_confirmed"
down_revision = "0021_consumers"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("UPDATE users SET confirmed_at = created_at WHERE confirmed_at IS NULL")


def downgrade() -> None:
    # Who was confirmed by this and who by a link cannot be told apart, and nothing older reads it.
    pass
