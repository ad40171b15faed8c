"""The time zones that people can choose."""

from __future__ import annotations

from functools import cache
from zoneinfo import available_timezones

# Names that the database of zones carries for other purposes.
NO_PLACES = ("Factory", "localtime", "posixrules")


@cache
def zone_names() -> tuple[str, ...]:
    """Every IANA name, in order."""
    return tuple(
        sorted(
            name
            for name in available_timezones()
            if name not in NO_PLACES and not name.startswith(("posix/", "right/"))
        )
    )


@cache
def _by_lower_case() -> dict[str, str]:
    return {name.lower(): name for name in zone_names()}


def find_zone(text: str) -> str | None:
    """The IANA name that was meant, whatever its case, or None."""
    return _by_lower_case().get(text.strip().lower())
