"""The due times of solar events, as Celery's `solar` computes them, with the library `ephem`.

Celery searches for "the next event after the last run", and the result depends in its last digits on where the search
begins.
Two beats must agree on a due time to the microsecond, so here each solar day is searched from its own fixed beginning,
and an event is rounded to the whole second. A day without the event is skipped.

`ephem` may take an event just before the beginning of its search for the next one. So a search begins six hours away
from where the event can be: risings are between midnight and noon and are searched for from 18:00, settings and noon
from 06:00.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import ephem

from webapp.recurrence.values import Solar
from webapp.recurrence.zones import EPOCH, from_microseconds, to_microseconds

DAY = 86_400_000_000
_SECOND = 1_000_000
SEARCH_DAYS = 366
"""How many days ahead an event is searched for. Polar night and polar day end within a year."""

_YEARS = (1900, 2999)  # outside of them the position of the sun is not computed exactly enough


@dataclass(frozen=True, slots=True)
class _Event:
    horizon: str  # degrees, as ephem reads them
    method: str  # of ephem.Observer
    center: bool  # whether the sun's centre, not its upper edge, crosses the horizon

    @property
    def begin(self) -> int:
        """The beginning of the search for the event of a mean solar day, in microseconds from its midnight."""
        return -DAY // 4 if self.method == "next_rising" else DAY // 4


EVENTS = {
    "dawn_astronomical": _Event("-18", "next_rising", center=True),
    "dawn_nautical": _Event("-12", "next_rising", center=True),
    "dawn_civil": _Event("-6", "next_rising", center=True),
    "sunrise": _Event("-0:34", "next_rising", center=False),
    "solar_noon": _Event("0", "next_transit", center=False),
    "sunset": _Event("-0:34", "next_setting", center=False),
    "dusk_civil": _Event("-6", "next_setting", center=True),
    "dusk_nautical": _Event("-12", "next_setting", center=True),
    "dusk_astronomical": _Event("-18", "next_setting", center=True),
}


def next_event(rule: Solar, after: int) -> int | None:
    """Return the first event after `after`, both in microseconds since the epoch.

    None when there is none within SEARCH_DAYS days, or outside the years 1900 to 2999.
    """
    day = (after - _mean_midnight(rule, 0)) // DAY - 1
    for number in range(day, day + SEARCH_DAYS + 2):
        found = _event_of_day(rule, number)
        if found is not None and found > after:
            return found
    return None


def _mean_midnight(rule: Solar, number: int) -> int:
    """When the mean solar day of that number begins at the place; 0 is that of 1970-01-01."""
    return number * DAY + round(-rule.longitude / 360 * DAY)


@lru_cache(maxsize=16_384)
def _event_of_day(rule: Solar, number: int) -> int | None:
    begin = _mean_midnight(rule, number)
    if not _YEARS[0] <= EPOCH.year + begin // (365 * DAY) <= _YEARS[1]:
        return None
    event = EVENTS[rule.event]
    place = ephem.Observer()  # a new one each time: it has state while it computes, and threads may run this at once
    place.lat, place.lon, place.elevation = str(rule.latitude), str(rule.longitude), 0
    place.horizon, place.pressure = event.horizon, 0
    start = ephem.Date(from_microseconds(begin + event.begin).replace(tzinfo=None))
    options = {"use_center": True} if event.center else {}
    try:
        found = getattr(place, event.method)(ephem.Sun(), start=start, **options)
    except ephem.CircumpolarError:
        return None
    moment = found.datetime().replace(tzinfo=EPOCH.tzinfo)
    return round(to_microseconds(moment) / _SECOND) * _SECOND
