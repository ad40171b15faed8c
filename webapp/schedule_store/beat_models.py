"""The tables that beat processes write: the lease, the processes, and the progress of each schedule."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column, scoped_session

from webapp.database.engine import Base, UtcDateTime, now
from webapp.liveness import BEAT_GONE_AFTER


class BeatLease(Base):
    """One row: which beat leads, until when. `token` grows with each change of leader and fences the former one."""

    __tablename__ = "beat_lease"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    token: Mapped[int] = mapped_column(sa.BigInteger, default=0, server_default="0")
    holder: Mapped[str | None] = mapped_column(sa.String(64), comment="beats.id")
    # Without a holder: when the last one gave it back.
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime, comment="On the database's clock")
    missed: Mapped[int] = mapped_column(
        sa.BigInteger, default=0, server_default="0", comment="Due times noted as missed, ever"
    )


class Beat(Base):
    """A beat process, and the revision of the schedules that it has in force."""

    __tablename__ = "beats"

    id: Mapped[str] = mapped_column(sa.String(64), primary_key=True, comment="Random, new at each start")
    host: Mapped[str] = mapped_column(sa.String(255))
    pid: Mapped[int]
    leading: Mapped[bool] = mapped_column(default=False)
    revision: Mapped[int] = mapped_column(sa.BigInteger, default=0, comment="Applied")
    applied_at: Mapped[datetime | None] = mapped_column(UtcDateTime, comment="When, on the database's clock")
    schedules: Mapped[int] = mapped_column(default=0, comment="How many it holds")
    started_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    seen_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now, index=True)


def alive_beats(session: Session | scoped_session[Any], at: datetime) -> Sequence[Beat]:
    """The beats that gave a heartbeat lately, by the database's clock. The leading one, which fires, comes first."""
    query = sa.select(Beat).where(Beat.seen_at > at - BEAT_GONE_AFTER)
    return session.scalars(query.order_by(Beat.leading.desc(), Beat.applied_at)).all()


class ScheduleProgress(Base):
    """The progress of a schedule. Written by the leading beat only, in the transaction that creates the runs."""

    __tablename__ = "schedule_progress"

    schedule_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    last_due_at: Mapped[datetime | None] = mapped_column(UtcDateTime, comment="The last due time accounted for")
    next_due_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    # Without a revision they are those of a schedule that beat has switched off, and no longer count.
    runs: Mapped[int] = mapped_column(default=0, server_default="0", comment="Counts toward the maximum")
    broken: Mapped[str | None] = mapped_column(sa.Text, comment="Why it cannot fire; None when it can")
    broken_since: Mapped[datetime | None] = mapped_column(
        UtcDateTime, comment="When that was first noticed; means nothing while it can fire"
    )
    revision: Mapped[int | None] = mapped_column(sa.BigInteger, comment="Of the schedule that next_due_at is of")

    __table_args__ = (
        # Lists in the order of these moments.
        sa.Index("ix_schedule_progress_next", "next_due_at", "schedule_id"),
        sa.Index("ix_schedule_progress_last", "last_due_at", "schedule_id"),
        sa.Index(
            "ix_schedule_progress_broken",
            "schedule_id",
            sqlite_where=sa.text("broken IS NOT NULL"),
            postgresql_where=sa.text("broken IS NOT NULL"),
        ),
    )
