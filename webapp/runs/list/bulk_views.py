"""`/runs/retry-all` and `/runs/cancel-all`: a page that says how many it concerns, and the button that does it."""

from __future__ import annotations

from flask import Blueprint, Response, flash, request
from flask_security import current_user

from webapp.database.engine import now
from webapp.runs.list import bulk
from webapp.runs.list.context import address, search_of, terms_of
from webapp.runs.list.listing import Edge
from webapp.web.access import Permission, access
from webapp.web.formats import plural
from webapp.web.idempotency import once
from webapp.web.rendering import render, see_other

blueprint = Blueprint("bulk", __name__)


@blueprint.get("/runs/retry-all")
@access(Permission.RUN_TASKS)
def ask_retry() -> Response:
    """How many runs a retry of all that match concerns."""
    return _ask("retry")


@blueprint.get("/runs/cancel-all")
@access(Permission.CONTROL_RUNS)
def ask_cancel() -> Response:
    """How many runs a cancellation of all that match concerns."""
    return _ask("cancel")


def _ask(action: str) -> Response:
    terms = terms_of(request.args)
    found = bulk.proposal(search_of(terms), now(), ended=action == "retry")
    back = address(terms)
    return render("runs/list/bulk.html", action=action, found=found, terms=terms, back=back, most=bulk.MAX_BULK_RUNS)


@blueprint.post("/runs/retry-all")
@access(Permission.RUN_TASKS)
@once
def retry_all() -> Response:
    """Retry what the page before counted."""
    terms = terms_of(request.form)
    top = Edge.parse(request.form.get("top", ""))
    done = bulk.retry_all(search_of(terms), now(), top, person=current_user.id)
    flash(f"{plural(done.done, 'run')} retried.", "success" if done.done else "info")
    if done.refused:
        flash(
            f"{plural(done.refused, 'run')} not retried: their tasks are not registered or take other arguments, or "
            "their secret arguments were deleted.",
            "warning",
        )
    return see_other(address({}, q="since:10m", state="") if done.done else address(terms))


@blueprint.post("/runs/cancel-all")
@access(Permission.CONTROL_RUNS)
@once
def cancel_all() -> Response:
    """Cancel what the page before counted."""
    terms = terms_of(request.form)
    done = bulk.cancel_all(search_of(terms), now(), Edge.parse(request.form.get("top", "")))
    flash(f"{plural(done.done, 'run')} cancelled.", "success" if done.done else "info")
    if done.requested:
        flash(
            f"The workers of {plural(done.requested, 'run')} were asked to terminate them. "
            "Celery does not guarantee it.",
            "info",
        )
    if done.broker_away:
        flash("The broker does not answer, so started runs could not be terminated.", "danger")
    return see_other(address(terms))
