"""`/failures`: the inbox of failures, and what a person decides about one."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

from flask import Blueprint, Response, flash, jsonify, request, url_for
from pydantic import Field

from webapp.database.engine import now
from webapp.failures import groups, inbox
from webapp.failures.groups import Kind
from webapp.failures.inbox import OPEN, Item, Status
from webapp.run_store.failure_models import EXCEPTION_LENGTH, Decision
from webapp.web.access import Permission, access
from webapp.web.bodies import Body, Nullable, needed, read_body
from webapp.web.errors import Invalid
from webapp.web.idempotency import once
from webapp.web.rendering import render, see_other, wants_json

blueprint = Blueprint("failures", __name__, url_prefix="/failures")

# The pages of the inbox; those that need someone come first.
TABS = {"open": OPEN, **{status.value: {status} for status in (Status.ACKNOWLEDGED, Status.SNOOZED, Status.RESOLVED)}}
SNOOZES = {"1h": timedelta(hours=1), "4h": timedelta(hours=4), "1d": timedelta(days=1), "7d": timedelta(days=7)}
DONE = {
    Decision.ACKNOWLEDGED: "Acknowledged.",
    Decision.SNOOZED: "Snoozed.",
    Decision.RESOLVED: "Marked as resolved.",
    None: "Reopened.",
}


class DecisionBody(Body):
    """What is decided about a kind of failure; null or empty reopens it. `snooze` is for how long."""

    task: Annotated[str, Field(max_length=255), needed("Name the task.")]
    exception: Annotated[str, Field(max_length=EXCEPTION_LENGTH), needed("Name the exception.")]
    place: Annotated[str, Field(max_length=groups.PLACE_LENGTH)] = ""
    decision: Nullable[Literal["acknowledged", "snoozed", "resolved"]] = None
    snooze: Nullable[Literal["1h", "4h", "1d", "7d"]] = None
    note: Annotated[str, Field(max_length=2000)] = ""


@blueprint.get("")
@access(Permission.VIEW_RUNS)
def index() -> Response:
    """Kinds of failures by status; `show` is one of `TABS`, `span` one of `groups.SPANS`."""
    span = _chosen("span", groups.SPANS, "7d")
    at = now()
    found = groups.grouped(groups.SPANS[span], at)
    shown = inbox.items(found, at)
    if wants_json():
        return jsonify(failures=[_values(item) for item in shown], more=found.more)
    tab = _chosen("show", TABS, "open")
    return render(
        "failures/index.html",
        items=[item for item in shown if item.status in TABS[tab]],
        counts={name: sum(item.status in statuses for item in shown) for name, statuses in TABS.items()},
        more=found.more,
        tab=tab,
        span=span,
        spans=list(groups.SPANS),
        snoozes=list(SNOOZES),
    )


@blueprint.post("")
@access(Permission.CONTROL_RUNS)
@once
def decide() -> Response:
    """Keep a decision."""
    body = read_body(DecisionBody)
    decision = Decision(body.decision) if body.decision else None
    if (decision is Decision.SNOOZED) != (body.snooze is not None):
        raise Invalid({"snooze": f"Choose for how long, one of {', '.join(SNOOZES)}."})
    at = now()
    until = at + SNOOZES[body.snooze] if body.snooze else None
    inbox.decide(Kind(body.task, body.exception, body.place), decision, until, body.note.strip(), at)
    if wants_json():
        return jsonify(decision=body.decision, until=until and until.isoformat())
    flash(DONE[decision], "success")
    return see_other(url_for("failures.index"))


def _chosen(name: str, known: Any, default: str) -> str:
    given = request.args.get(name, default)
    return given if given in known else default


def _values(item: Item) -> dict[str, Any]:
    decision = item.decision
    return {
        **item.group.kind._asdict(),
        "status": item.status,
        "error": item.group.example,
        "runs": len(item.group.runs),
        "first": item.group.first.isoformat(),
        "last": item.group.last.isoformat(),
        "last_run": item.group.runs[0].run_id,
        "recovered_at": item.recovered_at and item.recovered_at.isoformat(),
        "decided_by": decision and decision.person,
        "until": decision and decision.until and decision.until.isoformat(),
        "note": decision and decision.note,
    }
