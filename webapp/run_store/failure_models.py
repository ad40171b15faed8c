"""What people decided about a kind of failure. A kind without a row is new."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from webapp.database.engine import Base, UtcDateTime

EXCEPTION_LENGTH = 80


class Decision(StrEnum):
    """What a person says of a kind of failure."""

    ACKNOWLEDGED = "acknowledged"
    SNOOZED = "snoozed"
    RESOLVED = "resolved"


class FailureDecision(Base):
    """The last decision about failures of one task, exception and place in the code."""

    __tablename__ = "failure_decisions"

    id: Mapped[int] = mapped_column(primary_key=True)
    task: Mapped[str] = mapped_column(sa.String(255))
    exception: Mapped[str] = mapped_column(sa.String(EXCEPTION_LENGTH))
    place: Mapped[str] = mapped_column(sa.String(255), comment="File, line and function; empty: not known")
    decision: Mapped[str] = mapped_column(sa.String(12))
    person: Mapped[str] = mapped_column(sa.String(255), comment="As the audit names who decided")
    decided_at: Mapped[datetime] = mapped_column(UtcDateTime)
    until: Mapped[datetime | None] = mapped_column(UtcDateTime, comment="The end of a snooze")
    note: Mapped[str] = mapped_column(sa.Text, default="", server_default="")

    __table_args__ = (sa.UniqueConstraint("task", "exception", "place", name="uq_failure_decisions_kind"),)
