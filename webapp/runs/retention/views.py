"""`/runs/retention`: for how long runs are kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from flask import Blueprint, Response, flash, jsonify, url_for
from flask_security import current_user
from pydantic import BeforeValidator, Field, create_model

from webapp.database.engine import now
from webapp.run_store.states import RunState
from webapp.runs import control
from webapp.runs.retention import service
from webapp.web.access import Permission, access
from webapp.web.bodies import Body, Nullable, read_body
from webapp.web.errors import Invalid
from webapp.web.idempotency import once
from webapp.web.parameters import submitted
from webapp.web.rendering import render, see_other, wants_json

blueprint = Blueprint("retention", __name__)


FIELDS: dict[str, RunState] = {f"days_{state}": state for state in service.DEFAULTS}


def _read_days(value: object) -> int:
    text = str(value).strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= service.MAX_DAYS):
        raise ValueError(
            f"Enter a number of days from 1 to {service.MAX_DAYS:,}, or leave the field empty to keep them forever."
        )
    return int(text)


Days = Nullable[Annotated[int, Field(ge=1, le=service.MAX_DAYS), BeforeValidator(_read_days)]]
# The body: for how many days runs of each state are kept; null or empty is for ever.
_DAYS: dict[str, Any] = dict.fromkeys(FIELDS, (Days, None))
RetentionRules = create_model("RetentionRules", __base__=Body, **_DAYS)


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
    try:
        sent = read_body(RetentionRules).model_dump(exclude_unset=True)
        changed = service.set_rules({FIELDS[name]: days for name, days in sent.items()})
    except Invalid as error:
        if wants_json():
            raise
        return _page(submitted(), error)
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
