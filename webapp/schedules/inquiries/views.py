"""Questions about a schedule: what would running it do, why didn't it run?"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from flask import Blueprint, Response, jsonify, make_response, request

from beatdesk.secrecy.masking import conceal
from webapp.database.engine import now
from webapp.recurrence.zones import zone
from webapp.runs.call import forms
from webapp.schedule_store.definition import iso
from webapp.schedule_store.status import Status
from webapp.schedule_store.stored import Stored
from webapp.schedules import actions, service
from webapp.schedules.asked import asked_filters, given_fields
from webapp.schedules.editor.form_responses import run_form
from webapp.schedules.inquiries import diagnosis, rehearsal
from webapp.schedules.inquiries.dry_run import dry_run
from webapp.schedules.inquiries.rehearsal_export import rehearsal_csv, rehearsal_values
from webapp.task_catalogue.registry import rule_for
from webapp.web.access import Permission, access
from webapp.web.errors import Invalid
from webapp.web.parameters import read_ids, text_in_query
from webapp.web.rendering import render, wants_json
from webapp.web.templating import reader_zone
from webapp.web.transactions import reading

blueprint = Blueprint("schedule_inquiries", __name__, url_prefix="/schedules")


@blueprint.get("/rehearsal")
@access(Permission.VIEW_SCHEDULES)
def rehearse() -> Response:
    """What would fire in a span of dates, hour by hour and schedule by schedule."""
    asked = {name: text_in_query(name) for name in ("from", "to")}
    errors: dict[str, str] = {}
    found = None
    try:
        found = _rehearsed(asked)
    except Invalid as error:
        if wants_json():
            raise
        errors = error.fields
    if wants_json() and found is not None:
        return jsonify(rehearsal_values(found))
    filters = asked_filters()
    return render(
        "schedules/inquiries/rehearsal.html",
        status=422 if errors else 200,
        asked=asked,
        filters=filters,
        chosen=_chosen_ids(),
        found=found,
        fires=found.fires(rehearsal.SHOWN) if found else [],
        errors=errors,
        zone=reader_zone(),
        statuses=list(Status),
        wishes=request.query_string.decode("ascii", "replace"),
    )


@blueprint.get("/rehearsal.csv")
@access(Permission.VIEW_SCHEDULES)
def rehearse_as_csv() -> Response:
    """Every due time of the span, one line each, as far as they may be exported."""
    found = _rehearsed({name: text_in_query(name) for name in ("from", "to")})
    response = make_response(rehearsal_csv(found))
    response.headers["Content-Type"] = "text/csv; charset=utf-8"
    name = f"rehearsal-{found.start:%Y-%m-%d}-{found.end:%Y-%m-%d}.csv"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def _rehearsed(asked: dict[str, str]) -> rehearsal.Rehearsal:
    here, moment = reader_zone(), now()
    span = rehearsal.span(asked["from"], asked["to"], here, moment)
    return rehearsal.rehearse(asked_filters(), span, here, moment, _chosen_ids())


def _chosen_ids() -> list[int]:
    """The numbers of single schedules, `id=7&id=9`."""
    return read_ids(request.args.getlist("id")[: rehearsal.MAX_SCHEDULES + 1])


@blueprint.post("/<int:schedule_id>/dry-run")
@access(Permission.RUN_TASKS)
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
            if forms.sent_as_fields(given):
                return run_form(schedule_id, given, error.fields)
            return render(
                "schedules/inquiries/dry_run.html",
                status=422,
                schedule=schedule,
                found=None,
                errors=error.fields,
                given=given,
            )
        found = dry_run(schedule, args, kwargs, now())
        if wants_json():
            return jsonify(**dataclasses.asdict(found), workers=found.workers)
        shown = _for_the_button(schedule, args, kwargs)
        return render("schedules/inquiries/dry_run.html", schedule=schedule, found=found, shown=shown)


def _for_the_button(schedule: Stored, args: list[Any], kwargs: dict[str, Any]) -> dict[str, str] | None:
    """What the button sends that runs it with these; None where that has secrets other than the schedule's own."""
    call = conceal(rule_for(schedule.row.task), args, kwargs)
    shown = {"args": json.dumps(call.args), "kwargs": json.dumps(call.kwargs)}
    try:
        return shown if actions.arguments(schedule, shown) == (args, kwargs) else None
    except Invalid:
        return None


@blueprint.get("/<int:schedule_id>/why")
@access(Permission.VIEW_SCHEDULES)
def why(schedule_id: int) -> Response:
    """Why didn't it run? At `due`, or at its last due time."""
    schedule, asked = service.get(schedule_id), text_in_query("due")
    found = diagnosis.diagnose(schedule, now(), diagnosis.parse_due_time(asked, schedule))
    if wants_json():
        links = [dataclasses.asdict(link) for link in found.links]
        return jsonify(
            due_at=iso(found.due_at) if found.due_at else None,
            links=links,
            broken=found.broken and found.broken.name,
            run=found.run and found.run.id,
            by_hand=found.by_hand and found.by_hand.id,
        )
    return render(
        "schedules/inquiries/why.html", schedule=schedule, found=found, asked=asked, zone=zone(schedule.timezone)
    )
