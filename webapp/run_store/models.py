"""The `runs` table: one row for each execution, or for each that should have been."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from webapp.database.engine import Base, Name, UtcDateTime, now
from webapp.run_store.states import ENDED, UNSETTLED, Origin, RunState

_UNENDED = "schedule_id IS NOT NULL AND state IN ('held', 'queued', 'started', 'retrying')"


def _only_where(condition: str, name: str, *columns: str) -> sa.Index:
    """A partial index: runs that it does not concern cost it nothing."""
    return sa.Index(name, *columns, sqlite_where=sa.text(condition), postgresql_where=sa.text(condition))


class Run(Base):
    """One execution of a task. `id` is also the Celery task id; a due run's id is derived from schedule and due time.

    All moments are UTC. Arguments and results are JSON text, already masked and limited when they are written. Where
    another program's arguments are known by their text only, `args` and `kwargs` hold that, which is no JSON.
    """

    __tablename__ = "runs"

    id: Mapped[str] = mapped_column(sa.String(36), primary_key=True)
    external_id: Mapped[str | None] = mapped_column(
        sa.String(255), comment="The task id that another program gave, where it is not the id of this row"
    )
    task: Mapped[str] = mapped_column(Name)
    args: Mapped[str] = mapped_column(sa.Text, default="[]")
    kwargs: Mapped[str] = mapped_column(sa.Text, default="{}")
    queue: Mapped[str | None] = mapped_column(Name)
    priority: Mapped[int | None]
    options: Mapped[str | None] = mapped_column(sa.Text, comment="JSON of what else apply_async takes")
    sealed: Mapped[str | None] = mapped_column(sa.Text, comment="Encrypted: the arguments, where some are secret")

    state: Mapped[str] = mapped_column(sa.String(12), default=RunState.QUEUED)
    reason: Mapped[str | None] = mapped_column(sa.Text, comment="Why it was skipped, missed, revoked, retried")
    origin: Mapped[str] = mapped_column(sa.String(12), default=Origin.LAUNCH)
    created_by: Mapped[int | None] = mapped_column(comment="The person who asked for it")
    retry_of: Mapped[str | None] = mapped_column(sa.String(36))
    parent_id: Mapped[str | None] = mapped_column(sa.String(36))
    root_id: Mapped[str | None] = mapped_column(sa.String(36))
    group_id: Mapped[str | None] = mapped_column(sa.String(36), comment="Of the group or chord it is a member of")
    group_index: Mapped[int | None]

    schedule_id: Mapped[int | None] = mapped_column(comment="No foreign key: history outlives its schedule")
    schedule_name: Mapped[str | None] = mapped_column(sa.String(255))
    schedule_version: Mapped[int | None]
    due_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    pause_id: Mapped[int | None] = mapped_column(comment="The pause that it fell into")

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
    worker: Mapped[str | None] = mapped_column(Name, comment="The node name people know")
    sends: Mapped[int] = mapped_column(default=0, server_default="0", comment="How often its message was published")

    progress_done: Mapped[float | None] = mapped_column(sa.Double)
    progress_total: Mapped[float | None] = mapped_column(sa.Double, comment="None: nobody knows")
    progress_text: Mapped[str | None] = mapped_column(sa.Text)
    progress_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    result: Mapped[str | None] = mapped_column(sa.Text)
    error: Mapped[str | None] = mapped_column(sa.Text, comment="Exception: message")
    traceback: Mapped[str | None] = mapped_column(sa.Text)

    __table_args__ = (
        # A due time can be fired once.
        sa.UniqueConstraint("schedule_id", "due_at", name="uq_runs_schedule_due"),
        sa.Index("ix_runs_created", "created_at", "id"),
        # Each ends with the whole key of a page's edge, so that a page is read without sorting.
        sa.Index("ix_runs_state_created", "state", "created_at", "id"),
        sa.Index("ix_runs_task_created", "task", "created_at", "id"),
        _only_where("schedule_id IS NOT NULL", "ix_runs_schedule_created", "schedule_id", "created_at", "id"),
        _only_where("retry_of IS NOT NULL", "ix_runs_retry_of", "retry_of"),
        _only_where("parent_id IS NOT NULL", "ix_runs_parent", "parent_id"),
        _only_where("root_id IS NOT NULL", "ix_runs_root", "root_id", "created_at", "id"),
        _only_where("group_id IS NOT NULL", "ix_runs_group", "group_id", "group_index"),
        _only_where("external_id IS NOT NULL", "ix_runs_external", "external_id"),
        # What came due during a pause.
        _only_where("pause_id IS NOT NULL", "ix_runs_paused", "pause_id", "schedule_id", "due_at"),
        # Whether a schedule's last run has ended, however long its history is.
        _only_where(_UNENDED, "ix_runs_unended", "schedule_id"),
        # What the leading beat looks for: held runs whose time has come, queued ones without a confirmed message, and
        # claims without a sign of life. Partial, so that a million ended runs cost it nothing.
        _only_where("state = 'held'", "ix_runs_held", "eta"),
        _only_where("state = 'queued'", "ix_runs_queued", "sent_at"),
        # In which queues runs wait, and since when, however many do.
        _only_where("state = 'queued'", "ix_runs_waiting", "queue", "created_at"),
        _only_where("state IN ('started', 'retrying')", "ix_runs_active", "claim_seen_at"),
    )

    @property
    def ended(self) -> bool:
        """Whether nothing more is expected to happen to it."""
        return self.state in ENDED

    @property
    def settled(self) -> bool:
        """Whether it stays as it is, whatever news comes."""
        return self.state not in UNSETTLED


class RunLine(Base):
    """A log line of a run. No foreign key: it may be recorded before its run's row is there, or after it is deleted."""

    __tablename__ = "run_lines"

    id: Mapped[int] = mapped_column(sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True)
    run_id: Mapped[str] = mapped_column(sa.String(36))
    entry: Mapped[str] = mapped_column(sa.String(40), comment="Of the stream: told twice, kept once")
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    level: Mapped[str] = mapped_column(sa.String(10))
    text: Mapped[str] = mapped_column(sa.Text)

    __table_args__ = (sa.UniqueConstraint("run_id", "entry", name="uq_run_lines_entry"),)


class RunRetention(Base):
    """How long runs that ended in a state are kept, where an admin has set it. Without a row: the default."""

    __tablename__ = "run_retention"

    state: Mapped[str] = mapped_column(sa.String(12), primary_key=True)
    days: Mapped[int | None] = mapped_column(comment="None: for ever")
