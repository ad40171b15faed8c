"""Conversion between epoch seconds, in which beat computes, and the moments of databases and drivers."""

from __future__ import annotations

from datetime import UTC, datetime

from webapp.recurrence.zones import from_microseconds


def moment(epoch: float) -> datetime:
    """Epoch seconds as an aware datetime in UTC, to the microsecond."""
    return from_microseconds(round(epoch * 1_000_000))


def utc(value: datetime | str | None) -> datetime | None:
    """A stored moment, as either driver gives it out raw, as an aware datetime in UTC."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if value is None:
        return None
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def seconds(value: datetime | str | None) -> float | None:
    """The same in epoch seconds, exact to the microsecond: an aware moment divides whole microseconds once."""
    at = utc(value)
    return None if at is None else at.timestamp()
