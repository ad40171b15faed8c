"""The front page, and the health of this process and of the servers that it needs."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, make_response

from webapp.database.engine import now
from webapp.overview import health, service
from webapp.web.access import Permission, access, may
from webapp.web.rendering import render, render_polled, wants_fragment, wants_json

blueprint = Blueprint("overview", __name__)


@blueprint.get("/")
@access(Permission.USE_ACCOUNT)
def index() -> Response:
    """The front page: current problems and counts; for a member, who may not see these, a welcome."""
    counts = service.counts(now()) if may(Permission.VIEW_STATUS) else None
    if counts is not None and wants_fragment():
        return render_polled("overview/_counts.html", counts=counts)
    return render("overview/index.html", counts=counts)


@blueprint.get("/health")
@access(Permission.VIEW_STATUS, also=lambda: health.monitor().database_is_down())
def what_is_wrong() -> Response:
    """The current problems, which every page shows and polls; JSON for programs.

    While the database is down no user can be identified, so this is public then; it shows no more than `/readyz`.
    """
    found = health.monitor().health(timeout=1.0)
    if wants_json():
        return jsonify(ready=found.ready, checks=found.checks, signs=[sign.as_json() for sign in found.signs])
    return render_polled("overview/_health.html", signs=found.signs)


@blueprint.get("/healthz")
@access(Permission.PUBLIC)
def answers() -> Response:
    """200 if this process responds; nothing else is checked."""
    return jsonify(status="ok")


@blueprint.get("/readyz")
@access(Permission.PUBLIC)
def ready() -> Response:
    """Whether everything that a run needs is available: 200 if it is, 503 if not, within about 3 s."""
    found = health.monitor().health()
    body = jsonify(status="ok" if found.ready else "unavailable", checks=found.checks)
    return make_response(body, 200 if found.ready else 503)
