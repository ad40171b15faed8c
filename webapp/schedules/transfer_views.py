"""Schedules as a file, from the browser: out as YAML, in with the difference first."""

from __future__ import annotations

from flask import Blueprint, Response, flash, jsonify, make_response, url_for

from webapp.accounts.access import Access, access
from webapp.database import now
from webapp.errors import Invalid
from webapp.rendering import render, see_other, wants_json
from webapp.schedules import transfer
from webapp.schedules.asked import everything_sent
from webapp.transactions import reading

blueprint = Blueprint("schedules_transfer", __name__, url_prefix="/schedules")


@blueprint.get("/export")
@access(Access.VIEWER)
def export() -> Response:
    """All of them, as a YAML file, or as JSON for those who ask for it."""
    entries = transfer.export_all()
    if wants_json():
        return jsonify(schedules=entries)
    response = make_response(transfer.to_yaml(entries))
    response.headers["Content-Type"] = "application/yaml; charset=utf-8"
    response.headers["Content-Disposition"] = f'attachment; filename="schedules-{now():%Y-%m-%d}.yaml"'
    return response


@blueprint.get("/import")
@access(Access.SCHEDULER)
def import_form() -> Response:
    """Where a file is pasted."""
    return render("schedules/import.html", text="", steps=None, error=None)


@blueprint.post("/import")
@access(Access.SCHEDULER)
def import_file() -> Response:
    """The difference; with `apply` it is done, all of it or nothing. Programs send `{"file": text, "apply": true}`."""
    given = everything_sent()
    text, do_it = str(given.get("file") or "").replace("\r\n", "\n"), bool(given.get("apply"))
    try:
        entries = transfer.from_yaml(text)
        with reading():
            steps = transfer.difference(entries)
        if do_it:
            transfer.apply(entries)
    except Invalid as error:
        if wants_json():
            raise
        with reading():
            return render("schedules/import.html", status=422, text=text, steps=None, error=error.fields)
    if wants_json():
        return jsonify(applied=do_it, steps=[transfer.step_values(step) for step in steps])
    if do_it:
        changed = sum(step.action != "keep" for step in steps)
        flash(f"Imported: {changed} written, {len(steps) - changed} kept as they are. Nothing ran.", "success")
        return see_other(url_for("schedules.index"))
    with reading():
        return render("schedules/import.html", text=text, steps=steps, error=None)
