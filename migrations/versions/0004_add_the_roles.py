"""Add the roles, so that registering never has to make one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

ROLES = {
    "member": "Sees and edits only themselves",
    "viewer": "Reads every page",
    "operator": "Launches, retries, cancels and pauses",
    "scheduler": "Edits schedules",
    "admin": "Manages people and settings",
}
TABLE = sa.table("roles", sa.column("name", sa.String), sa.column("description", sa.String))


def upgrade() -> None:
    op.bulk_insert(TABLE, [{"name": name, "description": text} for name, text in ROLES.items()])


def downgrade() -> None:
    op.execute(sa.delete(sa.table("roles_users")))
    op.execute(sa.delete(TABLE).where(TABLE.c.name.in_(ROLES)))
