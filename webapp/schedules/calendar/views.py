"""`/schedules/calendar`: the coming week, and an hour or a minute of it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Response, jsonify, url_for

from webapp.database.engine import now
from webapp.schedule_store.status import Status
from webapp.schedules.asked import asked_filters
from webapp.schedules.calendar import moving
from webapp.schedules.calendar import past as happened
from webapp.schedules.calendar import week as calendar
from webapp.schedules.calendar.context import (
    PAGE,
    ahead_of,
    day_words,
    firings,
    instant_text,
    share_words,
    shares,
    week_view,
)
from webapp.schedules.calendar.grid import hour_at
from webapp.schedules.calendar.json import came_values, firing_values, week_values
from webapp.schedules.calendar.moving_parameters import only_moves
from webapp.schedules.calendar.parameters import carried, place
from webapp.schedules.calendar.week import DAYS, FARTHEST
from webapp.schedules.list.listing import Filters
from webapp.web.access import Permission, access
from webapp.web.errors import Invalid
from webapp.web.parameters import text_in_query
from webapp.web.rendering import render, wants_json
from webapp.web.templating import reader_zone

blueprint = Blueprint("schedule_calendar", __name__, url_prefix="/schedules")
blueprint.add_app_template_filter(day_words, "day_words")
blueprint.add_app_template_filter(share_words, "share_words")
blueprint.add_app_template_filter(happened.state_counts_text, "told_states")

ZONES_OFFERED = 10
# Of an address that offers to undo a move of as many as can be moved at a time.
LONGEST_BACK = 4000


@blueprint.get("/calendar")
@access(Permission.VIEW_SCHEDULES)
def week() -> Response:
    """A week, hour by hour."""
    moment, asked, filters = now(), {name: text_in_query(name) for name in ("from", "zone")}, asked_filters()
    zone, first, errors = reader_zone(), None, {}
    try:
        zone = calendar.chosen_zone(asked["zone"], zone)
        first = calendar.first_day(asked["from"], zone, moment)
    except Invalid as error:
        if wants_json():
            raise
        errors = error.fields
    today = moment.astimezone(zone).date()
    days, found = calendar.week(first or today, zone, filters, moment)
    view = week_view(days, found, zone, moment)
    past = happened.by_hour([cell.hour for row in view.cells for cell in row if cell], filters, moment)
    if wants_json():
        return jsonify(week_values(view, found, past))
    more = carried(asked, filters)
    return render(
        "schedules/calendar/week.html",
        status=422 if errors else 200,
        grid=days,
        rows=list(zip(days.rows, view.cells, strict=True)),
        found=found,
        view=view,
        past=past,
        zone=zone,
        zones=list(dict.fromkeys([reader_zone().key, "UTC", *found.index.zones(ZONES_OFFERED)])),
        asked=asked,
        errors=errors,
        today=today,
        now=moment,
        week_at=lambda weeks: _week_at(first or today, weeks, today, more),
        filters=filters,
        statuses=list(Status),
        tasks=sorted({group.task for group in found.index.groups}),
        queues=sorted({aim.queue for aim in found.queues if aim.queue}),
        calendar_only=carried(asked, Filters()),
        more=more,
        query=urlencode(more),
        back=only_moves(text_in_query("back", most=LONGEST_BACK).split(",")),
    )


@blueprint.get("/calendar/hour")
@access(Permission.VIEW_SCHEDULES)
def hour() -> Response:
    """What fires in an hour of the clock."""
    return _inside(whole_hour=True)


@blueprint.get("/calendar/minute")
@access(Permission.VIEW_SCHEDULES)
def minute() -> Response:
    """What fires in a minute."""
    return _inside(whole_hour=False)


def _inside(*, whole_hour: bool) -> Response:
    moment, given = now(), {name: text_in_query(name) for name in ("at", "from", "zone", "page")}
    filters = asked_filters()
    zone, instant, reckoned = place(given, filters, moment)
    within = hour_at(datetime.fromtimestamp(instant, UTC), zone)
    start, end = (within.start, within.end) if whole_hour else (instant, instant + 60)
    ahead = ahead_of(reckoned.load, moment)
    span = (max(reckoned.load.minute_of(start), ahead), reckoned.load.minute_of(end))
    came = happened.within(start, end, filters, moment) if start <= moment.timestamp() else []
    text = given["page"]
    number = max(1, int(text)) if text.isascii() and text.isdigit() and 0 < len(text) < 6 else 1
    found = firings(reckoned, span, zone, number)
    over = span[0] >= span[1]
    if wants_json():
        schedules, past = [firing_values(row) for row in found.rows], [came_values(one) for one in came]
        return jsonify(schedules=schedules, count=found.schedules, fires=found.fires, happened=past)
    return render(
        "schedules/calendar/hour.html",
        found=found,
        came=came[(number - 1) * PAGE : number * PAGE] if over else came[:PAGE],
        came_count=len(came),
        number=number,
        page_size=PAGE,
        begun=start <= moment.timestamp(),
        over=over,
        start=datetime.fromtimestamp(start, zone),
        end=datetime.fromtimestamp(end, zone),
        whole_hour=whole_hour,
        again=within.again,
        shares=shares(reckoned.load, *span) if whole_hour and not over else [],
        times=reckoned.times,
        zone=zone,
        at=instant_text(start),
        more=carried(given, filters),
        filters=filters,
        calendar_only=carried(given, Filters()),
        most=moving.MAX_MOVES,
    )


def _week_at(first: date, weeks: int, today: date, more: dict[str, Any]) -> str | None:
    """The address of a week before or after; None beyond what can be asked for."""
    day = max(today, first + timedelta(days=weeks * DAYS))
    if day == first or day > today + FARTHEST:
        return None
    wishes = {**more, "from": day.isoformat() if day != today else None}
    return url_for("schedule_calendar.week", **wishes)
