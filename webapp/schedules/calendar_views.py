"""`/schedules/calendar`: the coming week, an hour or a minute of it, and moving schedules to calmer minutes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from flask import Blueprint, Response, flash, jsonify, request, url_for

from webapp.accounts.access import Access, access
from webapp.database import now
from webapp.errors import Conflict, Invalid
from webapp.formats import plural
from webapp.query import text_in_query
from webapp.rendering import render, see_other, wants_json
from webapp.scheduler.recurrence import Crontab
from webapp.schedules import calendar, fields, moving, service
from webapp.schedules.asked import everything_sent, list_sent
from webapp.schedules.calendar import DAYS, FARTHEST, Reckoned
from webapp.schedules.calendar_answers import firing_values, week_values
from webapp.schedules.calendar_page import (
    coming_within,
    day_words,
    firings,
    instant_text,
    is_movable,
    shares,
    week_view,
)
from webapp.schedules.forms import form_values
from webapp.schedules.grid import hour_at
from webapp.schedules.load import Load
from webapp.schedules.pages import editor_context
from webapp.schedules.preview import preview
from webapp.templating import reader_zone
from webapp.transactions import reading

blueprint = Blueprint("schedule_calendar", __name__, url_prefix="/schedules")
blueprint.add_app_template_filter(day_words, "day_words")

ZONES_OFFERED = 10


@blueprint.get("/calendar")
@access(Access.VIEWER)
def week() -> Response:
    """A week, hour by hour."""
    moment, asked = now(), {name: text_in_query(name) for name in ("from", "zone")}
    zone, first, errors = reader_zone(), None, {}
    try:
        zone = calendar.chosen_zone(asked["zone"], zone)
        first = calendar.first_day(asked["from"], zone, moment)
    except Invalid as error:
        if wants_json():
            raise
        errors = error.fields
    today = moment.astimezone(zone).date()
    days, found = calendar.week(first or today, zone, moment)
    if wants_json():
        return jsonify(week_values(days, found, zone))
    view = week_view(days, found.load, zone)
    return render(
        "schedules/calendar.html",
        status=422 if errors else 200,
        grid=days,
        rows=list(zip(days.rows, view.cells, strict=True)),
        found=found,
        view=view,
        zone=zone,
        zones=list(dict.fromkeys([reader_zone().key, "UTC", *found.roster.zones(ZONES_OFFERED)])),
        asked=asked,
        errors=errors,
        today=today,
        now=moment,
        week_at=lambda weeks: _week_at(first or today, weeks, today, asked["zone"]),
        more=_more(asked),
        query=urlencode(_more(asked)),
    )


@blueprint.get("/calendar/hour")
@access(Access.VIEWER)
def hour() -> Response:
    """What fires in an hour of the clock."""
    return _inside(whole_hour=True)


@blueprint.get("/calendar/minute")
@access(Access.VIEWER)
def minute() -> Response:
    """What fires in a minute."""
    return _inside(whole_hour=False)


@blueprint.post("/calendar/move")
@access(Access.SCHEDULER)
def move() -> Response:
    """Move schedules to calmer minutes; a page asks first, with the difference. Programs send `ids`, or `moves`."""
    given = everything_sent()
    chosen = _moves(list_sent("moves", given))
    if chosen:
        done = moving.carry_out(chosen)
        if wants_json():
            return jsonify(moved=[{"id": one.id, "crontab": one.snapshot["crontab"]} for one in done])
        flash(f"{plural(len(done), 'schedule')} moved to calmer minutes. Nothing ran.", "success")
        return see_other(url_for("schedule_calendar.week", **_more(given)))
    with reading():
        zone, instant, reckoned = _place(given, now())
        plan = moving.propose(_ids(given, reckoned.load, instant), reckoned, now())
        if wants_json():
            moves = [
                {"move": _move_text(one), "id": one.schedule.id, "before": one.before, "after": one.after}
                for one in plan.moves
            ]
            return jsonify(moves=moves, refused=plan.refused)
        at = instant_text(instant)
        return render("schedules/move.html", plan=plan, move_text=_move_text, zone=zone, at=at, more=_more(given))


@blueprint.get("/<int:schedule_id>/minute/<int(max=59):wanted>")
@access(Access.SCHEDULER)
def at_minute(schedule_id: int, wanted: int) -> Response:
    """The editor, with another minute in the crontab; nothing is saved yet."""
    found = service.get(schedule_id)
    if not isinstance(found.rule, Crontab) or moving.fixed_minute(found.rule) is None:
        raise Conflict("Only a crontab with one fixed minute can be moved to another one.")
    values = form_values({**found.snapshot, "crontab": moving.at_minute(found.rule, wanted).line})
    return render("schedules/edit.html", **editor_context(values, found, preview(values, found, now())))


def _inside(*, whole_hour: bool) -> Response:
    moment, given = now(), {name: text_in_query(name) for name in ("at", "from", "zone", "page")}
    zone, instant, reckoned = _place(given, moment)
    within = hour_at(datetime.fromtimestamp(instant, UTC), zone)
    start, end = (within.start, within.end) if whole_hour else (instant, instant + 60)
    span = (reckoned.load.minute_of(start), reckoned.load.minute_of(end))
    text = given["page"]
    number = int(text) if text.isascii() and text.isdigit() and 0 < len(text) < 6 else 1
    found = firings(reckoned, span, zone, max(1, number))
    if wants_json():
        return jsonify(schedules=[firing_values(row) for row in found.rows], count=found.schedules, fires=found.fires)
    return render(
        "schedules/calendar_hour.html",
        found=found,
        start=datetime.fromtimestamp(start, zone),
        end=datetime.fromtimestamp(end, zone),
        whole_hour=whole_hour,
        again=within.again,
        shares=shares(reckoned.load, *span) if whole_hour else [],
        times=reckoned.times,
        zone=zone,
        at=instant_text(start),
        more=_more(given),
        most=moving.MOST,
    )


def _place(given: dict[str, Any], moment: datetime) -> tuple[ZoneInfo, int, Reckoned]:
    """The zone, the minute that is asked about (its first second), and the load around it. Raises Invalid."""
    zone = calendar.chosen_zone(str(given.get("zone") or ""), reader_zone())
    first = calendar.first_day(str(given.get("from") or ""), zone, moment)
    try:
        at = fields.moment(given.get("at") or moment, zone)
    except fields.FieldError as error:
        raise Invalid({"at": str(error)}) from error
    today = moment.astimezone(zone).date()
    if not today <= at.astimezone(zone).date() < today + FARTHEST + timedelta(days=DAYS):
        raise Invalid({"at": "It must be today or later, and within a year."})
    instant = int(at.timestamp()) // 60 * 60
    return zone, instant, calendar.around(hour_at(at, zone), first, zone, moment)


def _ids(given: dict[str, Any], found: Load, instant: int) -> list[int]:
    """The schedules that were chosen, or all with a fixed minute that come due in the minute."""
    if given.get("all"):
        place = found.minute_of(instant)
        return [
            schedule_id
            for coming, _count in coming_within(found, place, place + 1)
            if is_movable(coming)
            for schedule_id in coming.ids
        ]
    listed = list_sent("ids" if request.is_json else "id", given)
    return [int(text) for text in listed if text.isascii() and text.isdigit() and len(text) < 10]


def _move_text(one: moving.Move) -> str:
    """A move as the form carries it: the very one that was looked at."""
    return f"{one.schedule.id}:{one.schedule.row.version}:{one.minute}"


def _moves(texts: Sequence[str]) -> list[tuple[int, int, int]]:
    found = []
    for text in texts[: moving.MOST + 1]:
        parts = text.split(":")
        if len(parts) != 3 or not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
            raise Invalid({"moves": "Each is a schedule's number, its version and the new minute, such as 7:3:25."})
        found.append((int(parts[0]), int(parts[1]), int(parts[2])))
    if len(found) > moving.MOST:
        raise Invalid({"moves": f"At most {moving.MOST} at a time."})
    return found


def _week_at(first: date, weeks: int, today: date, zone: str) -> str | None:
    """The address of a week before or after; None beyond what can be asked for."""
    day = max(today, first + timedelta(days=weeks * DAYS))
    if day == first or day > today + FARTHEST:
        return None
    wishes = {"from": day.isoformat() if day != today else None, "zone": zone or None}
    return url_for("schedule_calendar.week", **wishes)  # type: ignore[arg-type]  # None leaves one out


def _more(given: dict[str, Any]) -> dict[str, Any]:
    """The wishes that links of the calendar carry on."""
    return {name: str(given[name]) for name in ("from", "zone") if given.get(name)}
