"""`/runs`: the list, one run, and what can be done with it."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, flash, jsonify, request, url_for
from flask_security import current_user

from webapp.database.engine import now
from webapp.identity import own_tasks, refusals
from webapp.messaging import broker
from webapp.recorder import rejected
from webapp.run_store.models import Run
from webapp.run_store.states import Origin
from webapp.runs import control, service
from webapp.runs.call import launch_form, summary
from webapp.runs.list.context import list_page
from webapp.runs.page import context as details
from webapp.runs.page import timeline
from webapp.runs.serializer import as_dict
from webapp.task_catalogue.registry import known_tasks
from webapp.web.access import Permission, access
from webapp.web.errors import Invalid, NotFound
from webapp.web.idempotency import once
from webapp.web.parameters import submitted
from webapp.web.rendering import json_error, render, render_polled, see_other, wants_fragment, wants_json
from webapp.web.templating import reader_zone
from webapp.workers.service import queue_names

blueprint = Blueprint("runs", __name__)


@blueprint.get("/runs")
@access(Permission.VIEW_RUNS)
def index() -> Response:
    """The list of runs; its filters are in the address."""
    shown = list_page(request.args, now())
    if wants_fragment():
        return render_polled("runs/list/_list.html", shown=shown, call_line=summary.line, times=timeline.times)
    status = 422 if shown.error else 200
    return render("runs/list/index.html", status=status, shown=shown, call_line=summary.line, times=timeline.times)


@blueprint.get("/runs/rejected")
@access(Permission.VIEW_RUNS)
def rejected_events() -> Response:
    """What the recorder could not record, with the reasons, the newest first."""
    events = broker.try_redis(lambda client: rejected.newest(client, rejected.SHOWN))
    return render("runs/rejected.html", events=events, shown=rejected.SHOWN, kept=rejected.MAX_REJECTED)


@blueprint.get("/runs/<run_id>")
@access(Permission.VIEW_RUNS)
def show(run_id: str) -> Response:
    """One run."""
    try:
        run = service.get_run(run_id)
    except NotFound:
        if wants_json():
            return json_error(404, f"No run has the ID {run_id}.", state="unknown")
        return render("runs/page/unknown.html", "runs/page/_unknown.html", status=404, run_id=run_id)
    if wants_json():
        return jsonify(as_dict(run))
    shown = details.run_details(run, now())
    if wants_fragment():
        return render_polled("runs/page/_run.html", shown=shown, run=run)
    return render("runs/page/show.html", shown=shown, run=run)


@blueprint.get("/runs/failures")
@access(Permission.VIEW_RUNS)
def failed() -> Response:
    """The former address of `/failures`."""
    return see_other(f"{url_for('failures.index')}?{request.query_string.decode()}".rstrip("?"))


@blueprint.get("/runs/new")
@access(Permission.RUN_TASKS)
def new() -> Response:
    """The launch form: first the task, then what it takes. `from=ID` begins with a run's arguments."""
    as_json = request.args.get("mode") == "json"
    if origin := request.args.get("from"):
        form = launch_form.prefilled(service.get_run(origin), as_json=as_json)
    else:
        form = launch_form.blank(request.args.get("task", ""), as_json=as_json)
    return _launch_page(form)


@blueprint.post("/runs/new")
@access(Permission.RUN_TASKS)
@once
def create() -> Response:
    """Launch a run; the form again, with what was typed, when it is not valid."""
    given = launch_form.typed(submitted())
    origin = service.get_run(given["from"]) if given.get("from") else None
    try:
        call = _read_call(given, origin)
        run = control.launch(
            call.task,
            call.args,
            call.kwargs,
            person=current_user.id,
            origin=Origin.RETRY if origin else Origin.LAUNCH,
            retry_of=origin.id if origin else None,
            **call.options,
        )
    except Invalid as error:
        if wants_json():
            raise
        return _launch_page(launch_form.again(given, error.fields, origin), status=422)
    return _made(run, "Launched.")


def _read_call(given: dict[str, str], origin: Run | None) -> launch_form.Call:
    try:
        return launch_form.read(given, now(), reader_zone(), queue_names(now()), origin)
    except Invalid as error:
        refusals.record("run.refuse", ("run", "", given.get("task", "")), str(error))
        raise


def _made(run: Run, done: str) -> Response:
    """A redirect to a run that was just launched."""
    flash(*control.outcome(run, done))
    return see_other(url_for("runs.show", run_id=run.id))


def _launch_page(form: launch_form.Form, status: int = 200) -> Response:
    tasks = {name: task for name, task in known_tasks().items() if own_tasks.allowed(name)}
    context: dict[str, Any] = {"form": form, "tasks": tasks, "queues": queue_names(now())}
    return render("runs/call/new.html", "runs/call/_new.html", status=status, zone=reader_zone().key, **context)


@blueprint.post("/runs/<run_id>/cancel")
@access(Permission.CONTROL_RUNS)
@once
def cancel(run_id: str) -> Response:
    """Cancel a waiting run, or ask the worker to terminate a started one."""
    run = service.get_run(run_id)
    try:
        done = control.cancel(run)
    except broker.BrokerAway:
        flash(
            "The broker does not answer, so the worker could not be asked. Try again when the broker is back.", "danger"
        )
    else:
        flash(done.value, "success" if done is control.Cancelled.AT_ONCE else "info")
    return see_other(url_for("runs.show", run_id=run.id))


@blueprint.post("/runs/<run_id>/retry")
@access(Permission.RUN_TASKS)
@once
def retry(run_id: str) -> Response:
    """Launch the same call again, as a new run."""
    run: Run = service.get_run(run_id)
    made = control.retry(run, person=current_user.id)
    return _made(made, "Retried. This is the new run.")


@blueprint.post("/runs/<run_id>/confirm")
@access(Permission.CONTROL_RUNS)
@once
def confirm(run_id: str) -> Response:
    """Mark an unconfirmed run as succeeded."""
    control.confirm(service.get_run(run_id), name=current_user.name)
    flash("Marked as succeeded.", "success")
    return see_other(url_for("runs.show", run_id=run_id))


@blueprint.post("/runs/<run_id>/send-again")
@access(Permission.RUN_TASKS)
@once
def send_again(run_id: str) -> Response:
    """Publish the message of an unconfirmed run once more."""
    control.send_again(service.get_run(run_id), name=current_user.name)
    flash("Sent again.", "success")
    return see_other(url_for("runs.show", run_id=run_id))
