"""Conversion between epoch seconds, in which beat computes, and the moments of databases and drivers."""

from __future__ import annotations

from datetime import UTC, datetime

from webapp.recurrence.zones import from_microseconds


def moment(epoch: float) -> datetime:
    """Epoch seconds as an aware datetime in UTC, to the microsecond."""
    return from_microseconds(round(epoch * 1_000_000))


def seconds(value: datetime | str | None) -> float | None:
    """A stored moment, as either driver returns it without SQLAlchemy, in epoch seconds."""
    if value is None:
        return None
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if value.tzinfo is None:
        value = value.replace(tzinfo=UTC)
    # Exact to the microsecond: for an aware moment this divides whole microseconds once.
    return value.timestamp()
