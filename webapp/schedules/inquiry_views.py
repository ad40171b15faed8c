"""Questions about a schedule: what would running it do, why didn't it run?"""

from __future__ import annotations

import dataclasses
import json

from flask import Blueprint, Response, jsonify

from webapp.accounts.access import Access, access
from webapp.database import now
from webapp.errors import Invalid
from webapp.query import text_in_query
from webapp.rendering import render, wants_json
from webapp.scheduler.recurrence.zones import zone
from webapp.schedules import actions, diagnosis, rehearsal, service
from webapp.schedules.answers import due_values
from webapp.schedules.asked import asked_filters, given_fields
from webapp.schedules.definition import iso
from webapp.schedules.dry_run import dry_run
from webapp.templating import reader_zone
from webapp.transactions import reading

blueprint = Blueprint("schedule_inquiries", __name__, url_prefix="/schedules")


@blueprint.get("/rehearsal")
@access(Access.VIEWER)
def rehearse() -> Response:
    """What would fire in a span of dates, hour by hour."""
    asked = {name: text_in_query(name) for name in ("from", "to")}
    filters, here, moment = asked_filters(), reader_zone(), now()
    errors: dict[str, str] = {}
    found = None
    try:
        start, end = rehearsal.span(asked["from"], asked["to"], here, moment)
        found = rehearsal.rehearse(filters, start, end, here, moment)
    except Invalid as error:
        if wants_json():
            raise
        errors = error.fields
    if wants_json() and found is not None:
        fires = [
            due_values(fire.due) | {"schedule": fire.schedule.id, "name": fire.schedule.name} for fire in found.fires
        ]
        return jsonify(total=found.total, fires=fires, cut=found.cut)
    context = {"asked": asked, "filters": filters, "found": found, "errors": errors, "zone": here}
    return render("schedules/rehearsal.html", status=422 if errors else 200, **context)


@blueprint.post("/<int:schedule_id>/dry-run")
@access(Access.OPERATOR)
def try_out(schedule_id: int) -> Response:
    """What running it would do; sends nothing."""
    given, _along = given_fields()
    with reading():
        schedule = service.get(schedule_id)
        try:
            args, kwargs = actions.arguments(schedule, given)
        except Invalid as error:
            if wants_json():
                raise
            return render(
                "schedules/dry_run.html", status=422, schedule=schedule, found=None, errors=error.fields, given=given
            )
        found = dry_run(schedule, args, kwargs, now())
        if wants_json():
            return jsonify(**dataclasses.asdict(found), workers=found.workers)
        return render(
            "schedules/dry_run.html", schedule=schedule, found=found, args=json.dumps(args), kwargs=json.dumps(kwargs)
        )


@blueprint.get("/<int:schedule_id>/why")
@access(Access.VIEWER)
def why(schedule_id: int) -> Response:
    """Why didn't it run? At `due`, or at its last due time."""
    schedule, asked = service.get(schedule_id), text_in_query("due")
    found = diagnosis.diagnose(schedule, now(), diagnosis.asked_due(asked, schedule))
    if wants_json():
        links = [dataclasses.asdict(link) for link in found.links]
        return jsonify(
            due_at=iso(found.due_at) if found.due_at else None, links=links, broken=found.broken and found.broken.name
        )
    return render("schedules/why.html", schedule=schedule, found=found, asked=asked, zone=zone(schedule.timezone))
