"""Pages of pauses and change windows, and the banner that every page has."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from flask import Blueprint, Response, flash, jsonify, make_response, url_for

from webapp.database.engine import now
from webapp.schedule_store.models import Resume, SchedulePause
from webapp.schedule_store.pauses import Pause, read_tags
from webapp.schedules import fields, in_force
from webapp.schedules.bodies import Resumption
from webapp.schedules.editor.forms import moment_type
from webapp.schedules.pausing import service
from webapp.web.access import Permission, access, may
from webapp.web.bodies import read_body
from webapp.web.errors import Invalid
from webapp.web.formats import plural
from webapp.web.idempotency import once
from webapp.web.parameters import submitted, text_in_query
from webapp.web.rendering import render, render_polled, see_other, wants_json
from webapp.web.templating import reader_zone
from webapp.web.transactions import reading

blueprint = Blueprint("pauses", __name__, url_prefix="/schedules/pauses")
blueprint.add_app_template_filter(service.scope_text, "told_scope")
blueprint.add_app_template_filter(read_tags, "read_tags")
blueprint.add_app_template_global(now, "moment_now")


@blueprint.app_template_global("near_pauses")
def near_pauses(unsettled: Sequence[Pause] | None = None) -> list[Pause]:
    """The pauses in the banner, for those who may see schedules. `unsettled`: pauses that the page has read already."""
    return service.near(now(), unsettled) if may(Permission.VIEW_SCHEDULES) else []


@blueprint.get("")
@access(Permission.VIEW_SCHEDULES)
def index() -> Response:
    """Active, planned and past pauses, and the form for a new one."""
    if wants_json():
        found = service.standing(now())
        parts = {"active": found.active, "planned": found.planned, "over": found.over}
        return jsonify({name: [_values(row) for row in rows] for name, rows in parts.items()})
    asked = {name: text for name in ("from", "until", "tags") if (text := text_in_query(name))}
    return _list({"scope": "tags" if "tags" in asked else "everything", **asked})


@blueprint.get("/banner")
@access(Permission.VIEW_SCHEDULES)
def banner() -> Response:
    """The banner alone; it polls while it has something to show."""
    return render_polled("schedules/pausing/_banner.html")


@blueprint.post("")
@access(Permission.PAUSE_SCHEDULES)
@once
def create() -> Response:
    """Pause now, or plan a change window."""
    given = submitted()
    try:
        row = service.create(given, reader_zone())
    except Invalid as error:
        if wants_json():
            raise
        with reading():
            return _list(given, error.fields)
    if wants_json():
        return make_response(jsonify(_values(row)), 201, {"Location": url_for("pauses.show", pause_id=row.id)})
    tags = read_tags(row.tags)
    held = f"{service.scope_text(tags)}: {plural(service.concerned(tags), 'schedule')}"
    flash(f"{held} {'will be paused' if row.starts_at > now() else 'paused'}.", "success")
    return see_other(url_for("pauses.index"))


@blueprint.get("/<int:pause_id>")
@access(Permission.VIEW_SCHEDULES)
def show(pause_id: int) -> Response:
    """One pause: its skipped runs, and the forms to resume and to change it."""
    if wants_json():
        return jsonify(_values(service.get(pause_id)))
    return _one(pause_id)


@blueprint.get("/<int:pause_id>/in-force")
@access(Permission.VIEW_SCHEDULES)
def show_in_force(pause_id: int) -> Response:
    """Whether its last change is in force; asks to be asked again while it is not."""
    row, moment = service.get(pause_id), now()
    standing = in_force.judge_change(row.revision, row.changed_at, in_force.present_beats(moment), moment)
    return render("schedules/pausing/_in_force.html", row=row, standing=standing)


@blueprint.post("/<int:pause_id>")
@access(Permission.PAUSE_SCHEDULES)
def update(pause_id: int) -> Response:
    """Change it."""
    given = submitted()
    try:
        row = service.update(pause_id, given, reader_zone())
    except Invalid as error:
        if wants_json():
            raise
        with reading():
            return _one(pause_id, given, error.fields)
    return _done(row, "Saved the pause.")


@blueprint.post("/<int:pause_id>/resume")
@access(Permission.PAUSE_SCHEDULES)
@once
def resume(pause_id: int) -> Response:
    """End a pause; `on_resume` says what happens to runs that came due during it."""
    row = service.resume(pause_id, read_body(Resumption).on_resume)
    what = service.scope_text(read_tags(row.tags))
    return _done(row, f"{what} resumed. {service.AFTERWARDS[Resume(row.on_resume)]}")


@blueprint.post("/<int:pause_id>/delete")
@access(Permission.PAUSE_SCHEDULES)
@once
def delete(pause_id: int) -> Response:
    """Delete a window that has not begun."""
    service.delete(pause_id)
    if wants_json():
        return jsonify(deleted=pause_id)
    flash("Deleted the change window.", "success")
    return see_other(url_for("pauses.index"))


def _done(row: SchedulePause, message: str) -> Response:
    if wants_json():
        return jsonify(_values(row))
    flash(message, "success")
    return see_other(url_for("pauses.show", pause_id=row.id))


def _list(typed: dict[str, Any], errors: dict[str, str] | None = None) -> Response:
    moment = now()
    today = moment.astimezone(reader_zone()).date()
    found = service.standing(moment)
    beats = in_force.present_beats(moment)
    judged = {row.id: in_force.judge_change(row.revision, row.changed_at, beats, moment) for row in found.active}
    return render(
        "schedules/pausing/pauses.html",
        status=422 if errors else 200,
        found=found,
        judged=judged,
        tomorrow=[f"{today + timedelta(days=days)}T00:00" for days in (1, 2)],
        meanwhile={row.id: service.meanwhile(row.id) for row in found.active},
        **_form(typed, errors),
    )


def _one(pause_id: int, typed: dict[str, Any] | None = None, errors: dict[str, str] | None = None) -> Response:
    row, moment = service.get(pause_id), now()
    over = row.ended_at is not None or (row.ends_at is not None and row.ends_at <= moment)
    shown = {
        "scope": "tags" if read_tags(row.tags) else "everything",
        "tags": ", ".join(read_tags(row.tags)),
        "reason": row.reason,
        "from": fields.moment_text(row.starts_at.replace(microsecond=0), reader_zone()),
        "until": fields.moment_text(row.ends_at.replace(microsecond=0), reader_zone()) if row.ends_at else "",
        "on_resume": row.on_resume,
    }
    beats = in_force.present_beats(moment)
    return render(
        "schedules/pausing/pause.html",
        status=422 if errors else 200,
        row=row,
        over=over,
        planned=not over and row.starts_at > moment,
        concerned=service.concerned(read_tags(row.tags)),
        meanwhile=service.meanwhile(row.id),
        standing=in_force.judge_change(row.revision, row.changed_at, beats, moment),
        **_form({**shown, **(typed or {})}, errors),
    )


def _form(typed: dict[str, Any], errors: dict[str, str] | None) -> dict[str, Any]:
    return {
        "typed": {name: str(value) for name, value in typed.items()},
        "errors": errors or {},
        "zone": reader_zone(),
        "resume_words": list(service.RESUME_WORDS.items()),
        "told_meanwhile": service.meanwhile_text,
        "told_caught_up": service.caught_up_text,
        "moment_type": moment_type,
    }


def _values(row: SchedulePause) -> dict[str, Any]:
    found = service.meanwhile(row.id)
    values = {"id": row.id, "author": row.author, "revision": row.revision, "made_up_for": row.caught_up}
    return {**values, **service.values(row), "meanwhile": {"runs": found.runs, "schedules": found.schedules}}
