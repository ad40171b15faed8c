"""Moving schedules to calmer times, from the calendar: the difference first, then all of it or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from flask import Blueprint, Response, flash, jsonify, url_for
from pydantic import Field

from webapp.database.engine import now
from webapp.recurrence import Crontab
from webapp.schedule_store.definition import iso
from webapp.schedule_store.secret_arguments import shown
from webapp.schedule_store.stored import Stored
from webapp.schedules import service
from webapp.schedules.actions import withdrawn_text
from webapp.schedules.asked import filters_from
from webapp.schedules.calendar import moving
from webapp.schedules.calendar.context import coming_within, instant_text, is_movable
from webapp.schedules.calendar.load import Load
from webapp.schedules.calendar.moving import MoveRequest
from webapp.schedules.calendar.moving_parameters import move_text, moves_in, planned_text
from webapp.schedules.calendar.parameters import carried, place
from webapp.schedules.editor.context import editor_context
from webapp.schedules.editor.forms import form_values
from webapp.schedules.editor.preview import preview
from webapp.schedules.rule_fields import WHOLE
from webapp.web.access import Permission, access
from webapp.web.bodies import Body, read_values
from webapp.web.errors import Conflict, Invalid
from webapp.web.formats import plural
from webapp.web.parameters import ids_sent, list_sent, submitted
from webapp.web.rendering import render, see_other, wants_json
from webapp.web.transactions import reading

blueprint = Blueprint("schedule_moves", __name__, url_prefix="/schedules")

Hour = Annotated[int, Field(ge=0, le=23), WHOLE]


class AllowedHours(Body):
    """The hours of the day that schedules may move to, over midnight too."""

    first_hour: Hour
    last_hour: Hour


@blueprint.post("/calendar/move")
@access(Permission.EDIT_SCHEDULES)
def move() -> Response:
    """Move schedules to calmer times; a page asks first, with the difference.

    Programs send `ids`, with `first_hour` and `last_hour` where the hours may change, and then the `moves` answered.
    """
    given = submitted()
    chosen = moves_in(list_sent("moves", given))
    if chosen:
        return _moved(given, *moving.carry_out(chosen))
    with reading():
        moment, filters = now(), filters_from(given)
        hours = _hours(given)
        _zone, instant, reckoned = place(given, filters, moment)
        plan = moving.propose(_ids(given, reckoned.load, instant, moment), hours, reckoned, moment)
        if wants_json():
            moves = [
                {"move": planned_text(one), "id": one.schedule.id, "before": one.before, "after": one.after}
                for one in plan.moves
            ]
            return jsonify(moves=moves, refused=plan.refused)
        more = carried(given, filters)
        at = instant_text(instant)
        return render("schedules/calendar/move.html", plan=plan, hours=hours, move_text=planned_text, at=at, more=more)


def _moved(given: dict[str, Any], done: Sequence[Stored], back: Sequence[MoveRequest]) -> Response:
    """Back to the calendar, which offers to undo it."""
    texts = [move_text(*one) for one in back]
    if wants_json():
        moved = [
            {"id": one.id, "crontab": one.snapshot["crontab"], "withdrawn": [iso(due) for due in one.withdrawn]}
            for one in done
        ]
        return jsonify(moved=moved, back=texts)
    flash(f"Moved {plural(len(done), 'schedule')}. No run was started. {withdrawn_text(done)}".strip(), "success")
    more = carried(given, filters_from(given))
    return see_other(url_for("schedule_calendar.week", **more, back=",".join(texts) or None))


@blueprint.get("/<int:schedule_id>/minute/<int(max=59):wanted>")
@access(Permission.EDIT_SCHEDULES)
def at_minute(schedule_id: int, wanted: int) -> Response:
    """The editor, with another minute in the crontab; nothing is saved yet."""
    found = service.get(schedule_id)
    if not isinstance(found.rule, Crontab) or moving.fixed_minute(found.rule) is None:
        raise Conflict("Only a crontab with one fixed minute can be moved to another minute.")
    values = form_values({**shown(found.snapshot), "crontab": moving.at_minute(found.rule, wanted).line})
    return render("schedules/editor/edit.html", **editor_context(values, found, preview(values, found, now())))


def _hours(given: dict[str, Any]) -> list[int]:
    """The hours of the day that schedules may move to, over midnight too; none where they stay in their own."""
    if given.get("to") == "minutes" or given.keys().isdisjoint(AllowedHours.model_fields):
        return []
    hours = read_values(AllowedHours, given)
    return [(hours.first_hour + step) % 24 for step in range((hours.last_hour - hours.first_hour) % 24 + 1)]


def _ids(given: dict[str, Any], found: Load, instant: int, now: datetime) -> list[int]:
    """The schedules that were chosen, or all with a fixed minute that match and come due in the minute."""
    if given.get("all"):
        if instant + 60 <= now.timestamp():
            raise Invalid({"at": "This minute has passed; its runs cannot be moved."})
        place = found.minute_of(instant)
        return [
            schedule_id
            for coming, _count in coming_within(found, place, place + 1)
            if is_movable(coming)
            for schedule_id in coming.ids
        ]
    return ids_sent(given)
