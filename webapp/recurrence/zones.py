"""Time zones, their offsets and clock changes.

Instants are whole seconds since 1970-01-01T00:00Z; walls are naive datetimes.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from webapp.recurrence.errors import RecurrenceError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_WALL = datetime(1970, 1, 1)  # noqa: DTZ001 - a wall clock has no zone by definition
_SECOND = timedelta(seconds=1)
_MICROSECOND = timedelta(microseconds=1)


@cache
def zone(name: str) -> ZoneInfo:
    """Return the zone of that IANA name. Raises RecurrenceError (field `timezone`) when there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise RecurrenceError("timezone", f"there is no time zone named '{name}'") from error


@cache
def known_zones() -> frozenset[str]:
    """Return the names that `ZoneInfo` knows. Reads the file system once."""
    return frozenset(available_timezones())


def to_microseconds(moment: datetime) -> int:
    """Return an aware moment as microseconds since the epoch, exactly. Raises ValueError for a naive one."""
    if moment.tzinfo is None:
        raise ValueError("a moment needs a time zone")
    return (moment - EPOCH) // _MICROSECOND


def from_microseconds(microseconds: int) -> datetime:
    """Return microseconds since the epoch as a moment in UTC, exactly."""
    return EPOCH + timedelta(microseconds=microseconds)


def offset_at(tz: ZoneInfo, instant: int) -> int:
    """Return the zone's offset at an instant, in seconds east of UTC."""
    offset = datetime.fromtimestamp(instant, tz).utcoffset()
    return offset // _SECOND if offset is not None else 0


def wall_offsets(tz: ZoneInfo, wall: datetime) -> tuple[int, int]:
    """Return the offsets before and after the clock change in which a wall time lies, in seconds.

    Equal: the wall time happens once. First one greater: it happens twice. Second one greater: it does not exist.
    """
    first = tz.utcoffset(wall.replace(fold=0))
    second = tz.utcoffset(wall.replace(fold=1))
    if first is None or second is None:  # not for an IANA zone, but the type allows it
        return 0, 0
    return first // _SECOND, second // _SECOND


def wall_seconds(wall: datetime) -> int:
    """Return a wall time as seconds since 1970 began on that wall."""
    return (wall - _EPOCH_WALL) // _SECOND


def wall_from_seconds(seconds: int) -> datetime:
    """The opposite of `wall_seconds`."""
    return _EPOCH_WALL + timedelta(seconds=seconds)


def transition(tz: ZoneInfo, wall: datetime, first: int, second: int) -> int:
    """Return the instant of the clock change in which a wall time with two different offsets lies.

    Both kinds of change lie between the two instants that the wall time can mean: of a repeated time there is one on
    each side, and a time that does not exist is too early with the later offset and too late with the earlier one.
    """
    seconds = wall_seconds(wall)
    return change_between(tz, seconds - max(first, second), seconds - min(first, second))


def change_between(tz: ZoneInfo, low: int, high: int) -> int:
    """Return the instant after `low`, up to `high`, from which on the zone has another offset than at `low`.

    The offset must change once between the two.
    """
    before = offset_at(tz, low)
    while high - low > 1:
        middle = (low + high) // 2
        if offset_at(tz, middle) == before:
            low = middle
        else:
            high = middle
    return high
