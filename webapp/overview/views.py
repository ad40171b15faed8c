"""The front page, and whether this process and what it needs are well."""

from __future__ import annotations

from flask import Blueprint, Response, current_app, jsonify

from webapp.accounts.access import Access, access, may
from webapp.database import now
from webapp.overview import readiness, service
from webapp.rendering import render, render_polled, wants_fragment

blueprint = Blueprint("overview", __name__)


@blueprint.get("/")
@access(Access.MEMBER)
def index() -> Response:
    """What is wrong now first, then what runs; a member, who may see neither, is welcomed."""
    counts = service.counts(now()) if may(Access.VIEWER) else None
    if counts is not None and wants_fragment():
        return render_polled("overview/_counts.html", counts=counts)
    return render("overview/index.html", counts=counts)


@blueprint.get("/healthz")
@access(Access.PUBLIC)
def health() -> Response:
    """Whether this process answers; asks nobody else."""
    return jsonify(status="ok")


@blueprint.get("/readyz")
@access(Access.PUBLIC)
def ready() -> Response:
    """Whether everything that a run needs is there: 200 if all is well, 503 if not, within about 3 s."""
    # The application itself, which other threads can use; `current_app` is this one's.
    checks = readiness.checks(current_app._get_current_object())  # type: ignore[attr-defined]  # noqa: SLF001  # Flask's documented way
    well = all(word == readiness.OK for word in checks.values())
    response = jsonify(status="ok" if well else "unavailable", checks=checks)
    response.status_code = 200 if well else 503
    return response
