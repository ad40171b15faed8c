"""`/runs/retention`: for how long runs are kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Blueprint, Response, flash, jsonify, url_for
from flask_security import current_user

from webapp.database.engine import now
from webapp.runs import control
from webapp.runs.retention import service
from webapp.web.access import Permission, access
from webapp.web.errors import Invalid
from webapp.web.idempotency import once
from webapp.web.parameters import submitted
from webapp.web.rendering import render, see_other, wants_json

blueprint = Blueprint("retention", __name__)


@blueprint.get("/runs/retention")
@access(Permission.EDIT_RETENTION)
def show() -> Response:
    """The rule for each state, how many runs it concerns now, and what was deleted last."""
    found = service.rules()
    if wants_json():
        return jsonify(days={state.value: days for state, days in found.items()})
    return _page({f"days_{state}": days for state, days in found.items()})


@blueprint.post("/runs/retention")
@access(Permission.EDIT_RETENTION)
def save() -> Response:
    """Save the rules; what was typed stays when some of it cannot be taken."""
    given = submitted()
    try:
        changed = service.set_rules(given)
    except Invalid as error:
        if wants_json():
            raise
        return _page(given, error)
    if wants_json():
        return show()
    flash("Saved. Old runs are deleted at the next cleanup." if changed else "No changes.", "success")
    return see_other(url_for("retention.show"))


@blueprint.post("/runs/retention/clean")
@access(Permission.EDIT_RETENTION)
@once
def clean() -> Response:
    """Delete now what the rules say; the run that does it is shown."""
    run = control.launch(service.TASK, person=current_user.id)
    flash("Cleanup started.", "success")
    return see_other(url_for("runs.show", run_id=run.id))


def _page(typed: Mapping[str, Any], error: Invalid | None = None) -> Response:
    found = service.rules()
    return render(
        "runs/retention/retention.html",
        status=422 if error else 200,
        typed=typed,
        errors=error.fields if error else {},
        rules=found,
        counts=service.due_counts(found, now()),
        most=service.MAX_COUNTED,
        last=service.last_cleaning(),
        schedules=service.schedules(),
    )
