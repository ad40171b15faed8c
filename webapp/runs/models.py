"""The `runs` table: one row for each execution, or for each that should have been."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from webapp.database import Base, UtcDateTime, now
from webapp.runs.states import ENDED, Origin, RunState

_UNENDED = sa.text("schedule_id IS NOT NULL AND state IN ('held', 'queued', 'started', 'retrying')")


class Run(Base):
    """One execution of a task. `id` is also the Celery task id; a due run's id is derived from schedule and due time.

    All moments are UTC. Arguments and results are JSON text, already masked and limited when they are written.
    """

    __tablename__ = "runs"

    id: Mapped[str] = mapped_column(sa.String(36), primary_key=True)
    task: Mapped[str] = mapped_column(sa.String(255))
    args: Mapped[str] = mapped_column(sa.Text, default="[]")
    kwargs: Mapped[str] = mapped_column(sa.Text, default="{}")
    queue: Mapped[str | None] = mapped_column(sa.String(255))
    priority: Mapped[int | None]
    options: Mapped[str | None] = mapped_column(sa.Text, comment="JSON of what else apply_async takes")

    state: Mapped[str] = mapped_column(sa.String(10), default=RunState.QUEUED)
    reason: Mapped[str | None] = mapped_column(sa.Text, comment="Why it was skipped, missed, revoked, retried")
    origin: Mapped[str] = mapped_column(sa.String(12), default=Origin.LAUNCH)
    created_by: Mapped[int | None] = mapped_column(comment="The person who asked for it")
    retry_of: Mapped[str | None] = mapped_column(sa.String(36))
    parent_id: Mapped[str | None] = mapped_column(sa.String(36))
    root_id: Mapped[str | None] = mapped_column(sa.String(36))

    schedule_id: Mapped[int | None] = mapped_column(comment="No foreign key: history outlives its schedule")
    schedule_name: Mapped[str | None] = mapped_column(sa.String(255))
    schedule_version: Mapped[int | None]
    due_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    eta: Mapped[datetime | None] = mapped_column(UtcDateTime, comment="Held until then")
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime, comment="Not begun after then")
    sent_at: Mapped[datetime | None] = mapped_column(UtcDateTime, comment="The broker confirmed the message")
    received_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    attempt: Mapped[int] = mapped_column(default=0, server_default="0", comment="Celery's count of retries")
    claims: Mapped[int] = mapped_column(default=0, server_default="0", comment="How often a worker began it")
    claimed_by: Mapped[str | None] = mapped_column(sa.String(64), comment="workers.id of who executes it")
    claim_seen_at: Mapped[datetime | None] = mapped_column(UtcDateTime, comment="Last sign of life of the claim")
    worker: Mapped[str | None] = mapped_column(sa.String(255), comment="The node name people know")
    sends: Mapped[int] = mapped_column(default=0, server_default="0", comment="How often its message was published")

    result: Mapped[str | None] = mapped_column(sa.Text)
    error: Mapped[str | None] = mapped_column(sa.Text, comment="Exception: message")
    traceback: Mapped[str | None] = mapped_column(sa.Text)

    __table_args__ = (
        # A due time can be fired once, whoever tries.
        sa.UniqueConstraint("schedule_id", "due_at", name="uq_runs_schedule_due"),
        sa.Index("ix_runs_created", "created_at", "id"),
        sa.Index("ix_runs_state_created", "state", "created_at"),
        sa.Index("ix_runs_task_created", "task", "created_at"),
        # Whether a schedule's last run has ended, however long its history is.
        sa.Index("ix_runs_unended", "schedule_id", sqlite_where=_UNENDED, postgresql_where=_UNENDED),
        # What the leading beat looks for: held runs whose time has come, queued ones without a confirmed message, and
        # claims without a sign of life. Partial, so that a million ended runs cost it nothing.
        sa.Index(
            "ix_runs_held", "eta", sqlite_where=sa.text("state = 'held'"), postgresql_where=sa.text("state = 'held'")
        ),
        sa.Index(
            "ix_runs_queued",
            "sent_at",
            sqlite_where=sa.text("state = 'queued'"),
            postgresql_where=sa.text("state = 'queued'"),
        ),
        sa.Index(
            "ix_runs_active",
            "claim_seen_at",
            sqlite_where=sa.text("state IN ('started', 'retrying')"),
            postgresql_where=sa.text("state IN ('started', 'retrying')"),
        ),
    )

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in ENDED
