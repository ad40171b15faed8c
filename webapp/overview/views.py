"""The front page, and whether this process and what it needs are well."""

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
    """What is wrong now first, then what runs; a member, who may see neither, is welcomed."""
    counts = service.counts(now()) if may(Permission.VIEW_STATUS) else None
    if counts is not None and wants_fragment():
        return render_polled("overview/_counts.html", counts=counts)
    return render("overview/index.html", counts=counts)


@blueprint.get("/health")
@access(Permission.VIEW_STATUS, also=lambda: health.monitor().database_is_away())
def what_is_wrong() -> Response:
    """What is wrong now: what every page shows first and asks for again; JSON for programs.

    With the database away nobody can say who asks; then it says no more than `/readyz` does.
    """
    found = health.monitor().health(patience=1.0)
    if wants_json():
        return jsonify(ready=found.ready, checks=found.checks, signs=[sign.as_json() for sign in found.signs])
    return render_polled("overview/_health.html", signs=found.signs)


@blueprint.get("/healthz")
@access(Permission.PUBLIC)
def answers() -> Response:
    """Whether this process answers; asks nobody else."""
    return jsonify(status="ok")


@blueprint.get("/readyz")
@access(Permission.PUBLIC)
def ready() -> Response:
    """Whether everything that a run needs is there: 200 if all is well, 503 if not, within about 3 s."""
    found = health.monitor().health()
    told = jsonify(status="ok" if found.ready else "unavailable", checks=found.checks)
    return make_response(told, 200 if found.ready else 503)
