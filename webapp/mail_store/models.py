"""The tables of mails. Each message has one row with a unique key, so that it is sent only once."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from webapp.database.engine import Base, UtcDateTime, now


class MailState(StrEnum):
    """The state of a message."""

    PENDING = "pending"
    SENDING = "sending"
    SENT = "sent"
    FAILED = "failed"
    IN_DOUBT = "in doubt"
    SUPPRESSED = "suppressed"


class Mail(Base):
    """One message to one person. Its unique `key` names the occasion, for example `birthday:7:2026`."""

    __tablename__ = "mails"

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(sa.String(120), unique=True)
    kind: Mapped[str] = mapped_column(sa.String(40))
    user_id: Mapped[int | None] = mapped_column(sa.ForeignKey("users.id", ondelete="SET NULL"), index=True)
    recipient: Mapped[str] = mapped_column(sa.String(255))
    recipient_name: Mapped[str] = mapped_column(sa.String(120), default="")
    context: Mapped[str] = mapped_column(sa.Text, default="{}", comment="JSON: what the wording needs")
    run_id: Mapped[str | None] = mapped_column(sa.String(36), comment="The run that sends it")
    subject: Mapped[str | None] = mapped_column(sa.String(255))
    state: Mapped[str] = mapped_column(sa.String(10), default=MailState.PENDING)
    attempts: Mapped[int] = mapped_column(default=0, server_default="0")
    error: Mapped[str | None] = mapped_column(sa.Text)
    message_id: Mapped[str | None] = mapped_column(sa.String(255))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
    claimed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    next_attempt_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    __table_args__ = (
        sa.Index("ix_mails_created", "created_at", "id"),
        sa.Index("ix_mails_state_created", "state", "created_at"),
    )


class SuppressedAddress(Base):
    """An address that its mail server refused permanently."""

    __tablename__ = "suppressed_addresses"

    address: Mapped[str] = mapped_column(sa.String(255), primary_key=True)
    reason: Mapped[str] = mapped_column(sa.Text)
    since: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
