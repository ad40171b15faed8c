"""The pages of schedules: the list, one schedule, and what is done to it."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, current_app, flash, jsonify, make_response, request, url_for

from webapp.database.engine import now
from webapp.extensions import db
from webapp.identity import own_tasks
from webapp.overview.theme import own_path
from webapp.recurrence.zones import zone
from webapp.runs import control
from webapp.schedule_store import pause_rows
from webapp.schedule_store.definition import KIND_WORDS, due_values, iso
from webapp.schedule_store.secret_arguments import shown
from webapp.schedule_store.status import Status
from webapp.schedule_store.stored import Stored
from webapp.schedules import actions, in_force, service
from webapp.schedules.asked import (
    asked_edge,
    asked_filters,
    asked_order,
    given_fields,
)
from webapp.schedules.bodies import Resumption
from webapp.schedules.editor.context import detail_context, editor_context, progress_context
from webapp.schedules.editor.crontab_parser import filled_in
from webapp.schedules.editor.form_responses import both_edited, chosen, form_again, run_form
from webapp.schedules.editor.forms import empty_form, field_label, form_values, said, strip
from webapp.schedules.list import listing
from webapp.schedules.list.ordering import ORDER_WORDS
from webapp.schedules.pausing import service as pausing
from webapp.schedules.schedule_json import listed_values, schedule_values
from webapp.schedules.service import Edited
from webapp.task_catalogue.registry import call_note
from webapp.web.access import Permission, access
from webapp.web.bodies import read_body
from webapp.web.errors import Invalid
from webapp.web.formats import plural
from webapp.web.idempotency import once
from webapp.web.parameters import id_in_query, list_sent, read_id, submitted
from webapp.web.rendering import render, render_polled, see_other, wants_fragment, wants_json

blueprint = Blueprint("schedules", __name__, url_prefix="/schedules")
blueprint.add_app_template_filter(said, "said")
blueprint.add_app_template_filter(field_label, "field_label")
blueprint.add_app_template_filter(strip, "strip_of_runs")


@blueprint.get("")
@access(Permission.VIEW_SCHEDULES)
def index() -> Response:
    """The list. Its address has the filters, also while they are being typed."""
    context = _listed()
    found = context["listed_page"]
    if wants_json():
        return jsonify(schedules=[listed_values(row) for row in found.rows], before=found.before, after=found.after)
    if wants_fragment():
        response = render("schedules/list/_filtered.html", **context)
        response.headers["HX-Replace-Url"] = url_for("schedules.index", **context["asked"])
        return response
    return render(
        "schedules/list/index.html",
        orders=list(ORDER_WORDS.items()),
        kinds=list(KIND_WORDS.items()),
        statuses=list(Status),
        tag_menu=listing.tags_in_use(),
        none_yet=not found.rows and not listing.any_schedule(),
        **context,
    )


@blueprint.get("/rows")
@access(Permission.VIEW_SCHEDULES)
def rows() -> Response:
    """A page of the list again, for the page that shows it."""
    context = _listed()
    if not wants_fragment():
        return see_other(url_for("schedules.index", **context["asked"]))
    return render_polled("schedules/list/_table.html", **context)


def _listed() -> dict[str, Any]:
    """The page of the list that the address asks for; `asked` is what of the address counts."""
    moment, filters, order = now(), asked_filters(), asked_order()
    pauses = pause_rows.unsettled(db.session)
    before, after = asked_edge("before"), asked_edge("after")
    found = listing.page(filters, moment, pauses, order=order, before=before, after=after)
    edges = {name: edge for name, edge in (("before", before), ("after", after)) if edge}
    given = {**filters.given(), **order.given()}
    return {
        "listed_page": found,
        "filters": filters,
        "order": order,
        "given": given,
        "asked": {**given, **edges},
        "beats": in_force.beats_for([row.schedule for row in found.rows], moment),
        "news": in_force,
        "now": moment,
        "unsettled": pauses,
    }


@blueprint.get("/new")
@access(Permission.EDIT_SCHEDULES)
def new() -> Response:
    """The form for a new one; filled in like another one for `clone`."""
    values = empty_form(current_app.extensions["settings"].timezone)
    if (number := id_in_query("clone")) is not None:
        found = service.get(number)
        own_tasks.require_form_access(found.row.task)
        values = form_values({**shown(found.snapshot), "name": f"{found.name[:249]} copy"})
    return render("schedules/editor/new.html", clone=number, **editor_context(values, None, None))


@blueprint.post("")
@access(Permission.EDIT_SCHEDULES)
@once
def create() -> Response:
    """Make one; the form again, with what is wrong, when it cannot be made."""
    given, along = given_fields()
    given = {"timezone": current_app.extensions["settings"].timezone, **given}
    try:
        given = filled_in(given, chosen(along))
        made = service.create(given, like=read_id(along.get("clone")))
    except Invalid as error:
        if wants_json():
            raise
        return form_again(given, along, None, error)
    if wants_json():
        headers = {"Location": url_for("schedules.show", schedule_id=made.id)}
        return make_response(jsonify(schedule_values(made)), 201, headers)
    flash(f"Created “{made.name}”. No run was started.", "success")
    return see_other(url_for("schedules.show", schedule_id=made.id))


@blueprint.get("/<int:schedule_id>")
@access(Permission.VIEW_SCHEDULES)
def show(schedule_id: int) -> Response:
    """One schedule: what it says, when it is due, what it ran, how to change it."""
    found = service.get(schedule_id)
    if wants_json():
        return jsonify(schedule_values(found) | {"next": [due_values(due) for due in found.due_times(now(), 10)]})
    return render("schedules/show.html", **detail_context(found, form_values(shown(found.snapshot))))


@blueprint.post("/<int:schedule_id>")
@access(Permission.EDIT_SCHEDULES)
def save(schedule_id: int) -> Response:
    """Change what was sent; the form again, with what is wrong, when it cannot be."""
    given, along = given_fields()
    try:
        given = filled_in(given, chosen(along))
        saved = service.save(schedule_id, given, version=read_id(along.get("version")))
    except Edited as error:
        if wants_json():
            raise
        return both_edited(given, error)
    except Invalid as error:
        if wants_json():
            raise
        return form_again(given, along, schedule_id, error)
    return _done(saved, f"Saved “{saved.name}”. No run was started.")


@blueprint.get("/<int:schedule_id>/in-force")
@access(Permission.VIEW_SCHEDULES)
def show_in_force(schedule_id: int) -> Response:
    """Whether the last edit is in force; asks to be asked again while it is not."""
    moment = now()
    found = service.get(schedule_id)
    standing = in_force.judge(found, in_force.present_beats(moment), moment)
    return render("schedules/_in_force.html", schedule=found, standing=standing)


@blueprint.get("/<int:schedule_id>/runs")
@access(Permission.VIEW_SCHEDULES)
def show_runs(schedule_id: int) -> Response:
    """Its last runs and its next times, as its page shows them."""
    if not wants_fragment():
        return see_other(url_for("schedules.show", schedule_id=schedule_id))
    context = progress_context(service.get(schedule_id), now(), pause_rows.unsettled(db.session))
    return render_polled("schedules/_progressed.html", **context)


@blueprint.post("/<int:schedule_id>/enable")
@access(Permission.EDIT_SCHEDULES)
@once
def enable(schedule_id: int) -> Response:
    """Let it fire from its next due time on."""
    found = service.set_enabled(schedule_id, enabled=True)
    return _done(found, f"Enabled “{found.name}”. It runs at its next scheduled time, not now.")


@blueprint.post("/<int:schedule_id>/disable")
@access(Permission.EDIT_SCHEDULES)
@once
def disable(schedule_id: int) -> Response:
    """Let it fire no more."""
    found = service.set_enabled(schedule_id, enabled=False)
    return _done(found, f"Disabled “{found.name}”.")


@blueprint.post("/<int:schedule_id>/delete")
@access(Permission.EDIT_SCHEDULES)
@once
def delete(schedule_id: int) -> Response:
    """Delete it; its runs stay in the list of runs."""
    name = service.get(schedule_id).name
    service.delete(schedule_id)
    if wants_json():
        return jsonify(deleted=schedule_id)
    flash(f"Deleted “{name}”. Its past runs are kept.", "success")
    return see_other(url_for("schedules.index"))


@blueprint.post("/<int:schedule_id>/pause")
@access(Permission.PAUSE_SCHEDULES)
@once
def pause(schedule_id: int) -> Response:
    """Let nothing fire for a while."""
    given = submitted()
    found = service.pause(schedule_id, reason=given.get("reason") or "", until=given.get("until") or "")
    return _done(found, f"Paused “{found.name}”.")


@blueprint.post("/<int:schedule_id>/resume")
@access(Permission.PAUSE_SCHEDULES)
@once
def resume(schedule_id: int) -> Response:
    """End its pause, and say what becomes of what came due meanwhile."""
    chosen = read_body(Resumption).on_resume
    found = service.resume(schedule_id, chosen)
    return _done(found, f"Resumed “{found.name}”. {pausing.AFTERWARDS[chosen]}")


@blueprint.post("/<int:schedule_id>/run")
@access(Permission.RUN_TASKS)
@once
def run(schedule_id: int) -> Response:
    """Run it once, now, with other arguments if some are sent."""
    given, _along = given_fields()
    try:
        made = actions.run_now(schedule_id, given)
    except Invalid as error:
        if wants_json():
            raise
        return run_form(schedule_id, given, error.fields)
    if wants_json():
        note = call_note(made.task)
        return make_response(jsonify(run_id=made.id, task=made.task, state=made.state, note=note), 202)
    flash(*control.outcome(made, "Started one run. The schedule is unchanged."))
    return see_other(url_for("runs.show", run_id=made.id))


@blueprint.post("/<int:schedule_id>/skip")
@access(Permission.PAUSE_SCHEDULES)
@once
def skip(schedule_id: int) -> Response:
    """Skip its next due time."""
    due_at = actions.skip_next(schedule_id)
    found = service.get(schedule_id)
    local = due_at.astimezone(zone(found.timezone))
    if wants_json():
        return jsonify(schedule_values(found) | {"skipped": iso(due_at)})
    return _done(found, f"“{found.name}” will skip its run of {local:%Y-%m-%d %H:%M:%S} {found.timezone}.")


@blueprint.post("/<int:schedule_id>/unskip")
@access(Permission.PAUSE_SCHEDULES)
@once
def unskip(schedule_id: int) -> Response:
    """Take back what was to be skipped."""
    count = actions.unskip(schedule_id)
    return _done(service.get(schedule_id), f"Undid {plural(count, 'skip')}.")


@blueprint.post("/<int:schedule_id>/versions/<int:version>/restore")
@access(Permission.EDIT_SCHEDULES)
def restore(schedule_id: int, version: int) -> Response:
    """Go back to what a version said."""
    found = service.restore(schedule_id, version)
    return _done(found, f"Restored version {version} of “{found.name}”. No run was started.")


@blueprint.post("/<int:schedule_id>/reset")
@access(Permission.EDIT_SCHEDULES)
def reset(schedule_id: int) -> Response:
    """Make fields what the code says."""
    found = service.reset(schedule_id, list_sent("field", submitted()))
    return _done(found, f"Reset “{found.name}” to code.")


def _done(schedule: Stored, message: str) -> Response:
    """After an action: the schedule as JSON, or back to the page where it was asked for."""
    if wants_json():
        return jsonify(schedule_values(schedule) | {"withdrawn": [iso(due) for due in schedule.withdrawn]})
    flash(f"{message} {actions.withdrawn_text([schedule])}".strip(), "success")
    back = request.form.get("back")
    return see_other(own_path(back) if back else url_for("schedules.show", schedule_id=schedule.id))
