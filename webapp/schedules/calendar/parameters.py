"""What a request for the calendar asks: where, on which clock, and for which schedules."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from webapp.schedules import fields
from webapp.schedules.calendar import week
from webapp.schedules.calendar.grid import hour_at
from webapp.schedules.calendar.week import DAYS, FARTHEST, CalendarLoad
from webapp.schedules.list.listing import Filters
from webapp.web.errors import Invalid
from webapp.web.templating import reader_zone


def place(given: Mapping[str, Any], filters: Filters, moment: datetime) -> tuple[ZoneInfo, int, CalendarLoad]:
    """The zone, the minute that is asked about (its first second), and the load around it. Raises Invalid."""
    zone = week.chosen_zone(str(given.get("zone") or ""), reader_zone())
    first = week.first_day(str(given.get("from") or ""), zone, moment)
    try:
        at = fields.moment(given.get("at") or moment, zone)
    except fields.FieldError as error:
        raise Invalid({"at": str(error)}) from error
    today = moment.astimezone(zone).date()
    if not today <= at.astimezone(zone).date() < today + FARTHEST + timedelta(days=DAYS):
        raise Invalid({"at": "Choose a date from today to one year ahead."})
    instant = int(at.timestamp()) // 60 * 60
    return zone, instant, week.around(hour_at(at, zone), first, zone, filters, moment)


def carried(given: Mapping[str, Any], filters: Filters) -> dict[str, Any]:
    """The wishes that links of the calendar carry on."""
    return {name: str(given[name]) for name in ("from", "zone") if given.get(name)} | filters.given()
