"""The front page, and whether this process and what it needs are well."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from webapp.accounts.access import Access, access, may
from webapp.database import now
from webapp.overview import service
from webapp.rendering import render

blueprint = Blueprint("overview", __name__)


@blueprint.get("/")
@access(Access.MEMBER)
def index() -> Response:
    """What is wrong now first, then what runs; a member, who may see neither, is welcomed."""
    return render("overview/index.html", counts=service.counts(now()) if may(Access.VIEWER) else None)


@blueprint.get("/healthz")
@access(Access.PUBLIC)
def health() -> Response:
    """Whether this process answers; asks nobody else."""
    return jsonify(status="ok")
