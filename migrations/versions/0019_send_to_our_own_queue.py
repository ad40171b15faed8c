"""Send what waits in Celery's default queue, which Beatdesk used until now, to its own queue.

A run that was sent there has no queue, or `celery` where a task sent it. Its message may still be taken from there: the
claim lets one message of a run be executed.
"""

from __future__ import annotations

from alembic import op

revision = "0019_own_queue"
down_revision = "0018_tokens"
branch_labels = None
depends_on = None

# Not what an exchange leads elsewhere.
_TO_DEFAULT = "queue IS NULL AND (options IS NULL OR (options NOT LIKE '%\"exchange\"%'))"
_UNENDED = "state IN ('held', 'queued', 'started', 'retrying')"


def upgrade() -> None:
    # Also of ended runs that tasks sent: who retries one means the default queue.
    _move("celery", f"{_UNENDED} OR origin = 'task'")


def downgrade() -> None:
    _move("beatdesk", f"{_UNENDED} OR origin = 'task'")


def _move(former: str, which: str) -> None:
    op.execute(f"UPDATE runs SET queue = NULL WHERE queue = '{former}' AND ({which})")
    op.execute(f"UPDATE runs SET sent_at = NULL WHERE state = 'queued' AND sent_at IS NOT NULL AND {_TO_DEFAULT}")
    # The message of the next attempt waits there until its time, which only it knows. Beat sends the attempt at once.
    op.execute(
        "UPDATE runs SET state = 'queued', sent_at = NULL, attempt = attempt + 1, claimed_by = NULL, "
        f"claim_seen_at = NULL WHERE state = 'retrying' AND {_TO_DEFAULT}"
    )
