"""Actions on many schedules, which a page confirms first."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, flash, jsonify, request, url_for

from webapp.database.engine import now
from webapp.schedules.asked import filters_from
from webapp.schedules.list import bulk
from webapp.schedules.list.listing import Filters
from webapp.web.access import Permission, access
from webapp.web.errors import Invalid
from webapp.web.formats import plural
from webapp.web.idempotency import once
from webapp.web.parameters import ids_sent, submitted
from webapp.web.rendering import render, see_other, wants_json
from webapp.web.transactions import reading

blueprint = Blueprint("schedules_bulk", __name__, url_prefix="/schedules/bulk")

SHOWN = 50


@blueprint.post(f"/<any({','.join(bulk.PAUSING)}):action>")
@access(Permission.PAUSE_SCHEDULES)
@once
def pause(action: str) -> Response:
    """Pause or resume many."""
    return _apply(action)


@blueprint.post("/run")
@access(Permission.RUN_TASKS)
@once
def run() -> Response:
    """Run many once, now."""
    return _apply("run")


@blueprint.post(f"/<any({','.join(bulk.EDITING)}):action>")
@access(Permission.EDIT_SCHEDULES)
@once
def edit(action: str) -> Response:
    """Enable, disable, tag or delete many."""
    return _apply(action)


def _apply(action: str) -> Response:
    given = submitted()
    ids = ids_sent(given)
    filters = filters_from(given) if given.get("all") else None
    if not request.is_json and not given.get("confirmed"):
        return _confirmation(action, ids, given)
    outcome = bulk.apply(action, bulk.chosen(ids, filters, now()), given)
    if wants_json():
        return jsonify(done=outcome.done, refused=outcome.refused)
    flash(f"{plural(outcome.done, 'schedule')} {bulk.WORDS[action][1]}.", "success" if outcome.done else "info")
    if outcome.refused:
        some = "; ".join(f"{name}: {text}" for name, text in list(outcome.refused.items())[:5])
        flash(f"{plural(len(outcome.refused), 'schedule')} unchanged: {some}", "warning")
    return see_other(_list_url(filters_from(given)))


def _confirmation(action: str, ids: list[int], given: dict[str, Any]) -> Response:
    """The page that asks for confirmation, with the names of the schedules."""
    filters = filters_from(given)
    with reading():
        try:
            schedules = bulk.chosen(ids, filters if given.get("all") else None, now())
        except Invalid as error:
            flash(str(error), "warning")
            return see_other(_list_url(filters))
        return render(
            "schedules/list/bulk.html",
            action=action,
            words=bulk.WORDS[action],
            schedules=schedules,
            shown=SHOWN,
            filters=filters,
            everything=bool(given.get("all")),
        )


def _list_url(filters: Filters) -> str:
    parameters: dict[str, Any] = dict(filters.given())
    return url_for("schedules.index", **parameters)
