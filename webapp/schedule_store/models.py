"""What a schedule is besides the library's row: policies, owner, version, revision."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy_celery_beat.models import PeriodicTask

from webapp.database.engine import Base, UtcDateTime, now


class Misfire(StrEnum):
    """What happens to due times that no beat fired in time."""

    SKIP = "skip"
    RUN_ONCE = "run once"
    RUN_ALL = "run all"


class Overlap(StrEnum):
    """What happens when a schedule comes due while its last run has not ended."""

    ALLOW = "allow"
    SKIP = "skip"
    QUEUE_ONE = "queue one"
    CANCEL_OTHER = "cancel other"


class Owner(StrEnum):
    """Where a schedule is defined: in the code, or by an admin in Beatdesk."""

    CODE = "code"
    ADMIN = "admin"


class Resume(StrEnum):
    """What happens at the end of a pause to the due times that fell into it."""

    SKIP = "skip"
    ONCE = "run once"
    ALL = "run all"
    POLICY = "policy"


class ScheduleDetail(Base):
    """One row a schedule, beside its `celery_periodictask` row. Written by `webapp.schedule_store.writing` only.

    A schedule without such a row (inserted by SQL) gets one from the database's triggers, with these defaults.
    """

    __tablename__ = "schedule_details"

    schedule_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    version: Mapped[int] = mapped_column(default=1, server_default="1")
    revision: Mapped[int] = mapped_column(
        sa.BigInteger, default=0, server_default="0", index=True, comment="Of the whole table, when this row changed"
    )
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now, server_default=sa.func.current_timestamp())
    timezone: Mapped[str] = mapped_column(
        sa.String(64), default="UTC", server_default="UTC", comment="In which people read its times"
    )
    anchor: Mapped[datetime | None] = mapped_column(UtcDateTime, comment="Where an interval's grid begins")
    ends_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    max_runs: Mapped[int | None]
    jitter: Mapped[float] = mapped_column(default=0.0, server_default="0", comment="Seconds, at most")
    misfire: Mapped[str] = mapped_column(sa.String(12), default=Misfire.RUN_ONCE, server_default="run once")
    misfire_window: Mapped[int] = mapped_column(default=3600, server_default="3600", comment="Seconds back")
    overlap: Mapped[str] = mapped_column(sa.String(12), default=Overlap.ALLOW, server_default="allow")
    owner: Mapped[str] = mapped_column(sa.String(8), default=Owner.ADMIN, server_default="admin")
    code_definition: Mapped[str | None] = mapped_column(sa.Text, comment="JSON of what the code says")
    tags: Mapped[str] = mapped_column(sa.Text, default="[]", server_default="[]", comment="JSON list")
    paused_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    paused_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    pause_reason: Mapped[str | None] = mapped_column(sa.Text)
    failure_budget: Mapped[int | None] = mapped_column(comment="Pause after that many failures in a row")
    paused_by: Mapped[str | None] = mapped_column(sa.String(255))
    failing_since: Mapped[datetime | None] = mapped_column(
        UtcDateTime, comment="Paused then by its failures; None after the next success"
    )
    failures_from: Mapped[datetime | None] = mapped_column(UtcDateTime, comment="Failures before that do not count")

    __table_args__ = (
        sa.Index(
            "ix_details_failing",
            "schedule_id",
            sqlite_where=sa.text("failing_since IS NOT NULL"),
            postgresql_where=sa.text("failing_since IS NOT NULL"),
        ),
        sa.Index(
            "ix_schedule_details_paused",
            "schedule_id",
            sqlite_where=sa.text("paused_at IS NOT NULL"),
            postgresql_where=sa.text("paused_at IS NOT NULL"),
        ),
    )


class SchedulePause(Base):
    """A pause of everything or of tags, or a change window that is planned.

    Written by `webapp.schedules.pausing.service`.
    A pause of one schedule is kept in its details while it lasts; it gets a row here when it ends with runs to catch
    up. Beat records here how far it has caught up.
    """

    __tablename__ = "pauses"

    id: Mapped[int] = mapped_column(primary_key=True)
    schedule_id: Mapped[int | None] = mapped_column(comment="Of one schedule only: noted when it ended")
    tags: Mapped[str] = mapped_column(
        sa.Text, default="[]", server_default="[]", comment="JSON list; empty: everything"
    )
    reason: Mapped[str] = mapped_column(sa.Text, default="", server_default="")
    starts_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ends_at: Mapped[datetime | None] = mapped_column(UtcDateTime, comment="None: until it is ended")
    on_resume: Mapped[str] = mapped_column(sa.String(10), default=Resume.SKIP, server_default="skip")
    author: Mapped[str] = mapped_column(sa.String(255), default="", server_default="")
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now, server_default=sa.func.current_timestamp())
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime, comment="Somebody ended it")
    ended_by: Mapped[str | None] = mapped_column(sa.String(255))
    caught_up_to: Mapped[int] = mapped_column(default=0, server_default="0", comment="The last schedule done")
    caught_up: Mapped[int] = mapped_column(default=0, server_default="0", comment="How many runs that made")
    settled_at: Mapped[datetime | None] = mapped_column(UtcDateTime, comment="Beat has nothing more to do")
    revision: Mapped[int] = mapped_column(sa.BigInteger, default=0, server_default="0")
    changed_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now, server_default=sa.func.current_timestamp())

    __table_args__ = (
        sa.Index(
            "ix_pauses_unsettled",
            "starts_at",
            sqlite_where=sa.text("settled_at IS NULL"),
            postgresql_where=sa.text("settled_at IS NULL"),
        ),
    )


class ScheduleRevision(Base):
    """One row: the last revision given out. Taken under its row lock, so that no lower one can commit later."""

    __tablename__ = "schedule_revision"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    revision: Mapped[int] = mapped_column(sa.BigInteger)


class ScheduleTombstone(Base):
    """A schedule that was deleted, and at which revision, so that beat drops it."""

    __tablename__ = "schedule_tombstones"

    schedule_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    revision: Mapped[int] = mapped_column(sa.BigInteger, index=True)
    deleted_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now, server_default=sa.func.current_timestamp())


class ScheduleVersion(Base):
    """What a schedule said at each save. Never updated; a run names the version that caused it."""

    __tablename__ = "schedule_versions"

    id: Mapped[int] = mapped_column(primary_key=True)
    schedule_id: Mapped[int]
    version: Mapped[int]
    snapshot: Mapped[str] = mapped_column(sa.Text, comment="JSON of all fields")
    author: Mapped[str] = mapped_column(sa.String(255))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)

    __table_args__ = (sa.UniqueConstraint("schedule_id", "version", name="uq_schedule_versions"),)


class ScheduleWords(Base):
    """What a search looks through: name, task, description and tags of a schedule, in lower case, one narrow row each.

    The database's triggers write it, at each write of the schedule by any program.
    """

    __tablename__ = "schedule_words"

    schedule_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    words: Mapped[str] = mapped_column(sa.Text)


# The library's table has no index for the question "who uses this rule?", which every edit asks, and none for lists.
sa.Index("ix_periodictask_rule", PeriodicTask.discriminator, PeriodicTask.schedule_id)
sa.Index("ix_periodictask_task", PeriodicTask.task, PeriodicTask.name)
