"""Other projects' workers as their events show them, and the gaps in those events: two tables and their statements."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from webapp.database import dialects
from webapp.database.engine import Base, UtcDateTime
from webapp.liveness import FORGOTTEN_AFTER

# Gaps are shown for so long.
GAPS_KEPT = timedelta(days=7)


class ObservedWorker(Base):
    """A worker's main process that sends events and is not ours. It counts as gone when none came for a minute."""

    __tablename__ = "observed_workers"

    node: Mapped[str] = mapped_column(sa.String(255), primary_key=True, comment="Celery's node name")
    pid: Mapped[int] = mapped_column(
        primary_key=True, autoincrement=False, comment="Its main process; 0: it does not say"
    )
    software: Mapped[str] = mapped_column(sa.String(255), comment="As the worker names it")
    active: Mapped[int | None] = mapped_column(comment="Runs that it executes")
    first_seen_at: Mapped[datetime] = mapped_column(UtcDateTime)
    seen_at: Mapped[datetime] = mapped_column(UtcDateTime, comment="Its last event, by our clock")
    stopped_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class EventGap(Base):
    """A time in which events were not read or did not arrive. What began meanwhile may have no run here."""

    __tablename__ = "event_gaps"

    id: Mapped[int] = mapped_column(primary_key=True)
    node: Mapped[str | None] = mapped_column(sa.String(255), comment="NULL: all workers")
    began_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    lost: Mapped[int | None] = mapped_column(comment="Runs that began meanwhile, where that is known")


_COLUMNS = ("node", "pid", "software", "active", "first_seen_at", "seen_at", "stopped_at")
# The columns of a row of each table, in their order.
Seen = tuple[str, int, str, int | None, datetime, datetime, datetime | None]
Gap = tuple[str | None, datetime, datetime, int | None]


def keep_workers(connection: sa.Connection, seen: Iterable[Seen], now: datetime) -> None:
    """Keep what the last events of these workers said, and forget those of yesterday. Commits nothing itself."""
    rows = [dict(zip(_COLUMNS, each, strict=True)) for each in seen]
    if rows:
        insert = dialects.insert(connection, ObservedWorker)
        fresh = {name: insert.excluded[name] for name in ("software", "active", "seen_at", "stopped_at")}
        connection.execute(insert.on_conflict_do_update(index_elements=("node", "pid"), set_=fresh), rows)
    connection.execute(sa.delete(ObservedWorker).where(ObservedWorker.seen_at < now - FORGOTTEN_AFTER))


def last_event(connection: sa.Connection) -> datetime | None:
    """When an event was read last; None where none is known."""
    found: datetime | None = connection.scalar(sa.select(sa.func.max(ObservedWorker.seen_at, type_=UtcDateTime())))
    return found


def keep_gaps(connection: sa.Connection, gaps: Sequence[Gap], now: datetime) -> None:
    """Keep gaps, each with its worker, its span and how many runs were lost. Commits nothing itself."""
    rows = [dict(zip(("node", "began_at", "ended_at", "lost"), gap, strict=True)) for gap in gaps]
    if rows:
        connection.execute(sa.insert(EventGap), rows)
        connection.execute(sa.delete(EventGap).where(EventGap.ended_at < now - GAPS_KEPT))


def gaps(connection: sa.Connection, most: int) -> list[EventGap]:
    """The latest gaps, newest first."""
    query = sa.select(EventGap.__table__).order_by(EventGap.ended_at.desc(), EventGap.id.desc()).limit(most)
    return [EventGap(**row) for row in connection.execute(query).mappings()]
