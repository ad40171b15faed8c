"""`/add-numbers/` and `/task-result/ID/`: a small form, the run behind it, and its result as page, fragment or JSON."""

from __future__ import annotations

from typing import Annotated, Any

from flask import Blueprint, Response, jsonify, make_response, request, url_for
from flask_security import current_user
from pydantic import BeforeValidator

from beatdesk.encoding import decode_json
from webapp.run_store.models import Run
from webapp.run_store.states import WAITING, RunState
from webapp.runs import control, service
from webapp.runs.call.numbers import number
from webapp.web.access import Permission, access, may
from webapp.web.bodies import Body, read_body
from webapp.web.errors import Invalid, NotFound
from webapp.web.parameters import submitted
from webapp.web.rendering import render, render_polled, see_other, wants_fragment, wants_json

blueprint = Blueprint("add_numbers", __name__)

Number = Annotated[int | float, BeforeValidator(number)]


class Addition(Body):
    """Two numbers to add."""

    num1: Number
    num2: Number


@blueprint.get("/add-numbers/")
@access(Permission.RUN_TASKS)
def form() -> Response:
    """The form."""
    return render("runs/add_numbers.html", values={}, errors={})


@blueprint.post("/add-numbers/")
@access(Permission.RUN_TASKS, tokens=True)
def add() -> Response:
    """Launch `add`. JSON: 202 with the id; htmx: the fragment that polls; a browser: 303 to the result's page."""
    try:
        given = read_body(Addition)
    except Invalid as error:
        if wants_json():
            raise
        page, fragment = "runs/add_numbers.html", "runs/_add_numbers.html"
        return render(page, fragment, status=422, values=submitted(), errors=error.fields)
    run = control.launch("add", [given.num1, given.num2], person=current_user.id)
    if wants_json():
        return make_response(jsonify(task_id=run.id), 202)
    if wants_fragment():
        return render("runs/add_numbers.html", "runs/_add_numbers.html", values=submitted(), errors={}, run=run)
    return see_other(url_for("add_numbers.result", task_id=run.id))


@blueprint.get("/task-result/<task_id>/")
@access(Permission.USE_ACCOUNT, tokens=True)
def result(task_id: str) -> Response:
    """The state of a run and its result; for viewers, and for the person who launched it."""
    run = _find(task_id)
    status = 200 if run else 404
    if wants_fragment():
        return render_polled("runs/_task_result.html", status=status, run=run, task_id=task_id)
    if not any(kind == "text/html" for kind, _ in request.accept_mimetypes):
        return make_response(jsonify(as_json(run) if run else {"task_id": task_id, "status": "unknown"}), status)
    return render("runs/task_result.html", status=status, run=run, task_id=task_id)


def _find(task_id: str) -> Run | None:
    """The run, if the person may see it; None for the runs of others as for an unknown ID."""
    try:
        run = service.get_run(task_id)
    except NotFound:
        return None
    return run if may(Permission.VIEW_RUNS) or run.created_by == current_user.id else None


def as_json(run: Run) -> dict[str, Any]:
    """`{"task_id", "status"}`, and `result` or `error` when the run has ended."""
    values: dict[str, Any] = {"task_id": run.id, "status": "pending" if run.state in WAITING else run.state}
    if run.state == RunState.SUCCEEDED:
        values["result"] = _value(run.result)
    elif run.ended:
        values["error"] = run.error or run.reason or run.state
    return values


def _value(text: str | None) -> Any:
    """The result as JSON has it; what JSON cannot say (`NaN`, a text cut short) stays text."""
    try:
        return decode_json(text or "null")
    except ValueError:
        return text
