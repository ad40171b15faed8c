"""`/workers` and `/queues`."""

from __future__ import annotations

from flask import Blueprint, Response

from webapp.web.access import Permission, access
from webapp.web.rendering import render, render_polled, wants_fragment
from webapp.web.transactions import database_clock
from webapp.workers import service
from webapp.workers.observed import observed_workers

blueprint = Blueprint("workers", __name__)


@blueprint.get("/workers")
@access(Permission.VIEW_WORKERS)
def workers() -> Response:
    """The workers, with capacity and load, and those of other projects."""
    now = database_clock()
    rows, observed = service.workers(now), observed_workers(now)
    if wants_fragment():
        return render_polled("workers/_workers.html", rows=rows, observed=observed)
    return render("workers/workers.html", rows=rows, observed=observed)


@blueprint.get("/queues")
@access(Permission.VIEW_WORKERS)
def queues() -> Response:
    """The queues, with waiting runs and consumers."""
    found = service.queues(database_clock())
    if wants_fragment():
        return render_polled("workers/_queues.html", queues=found)
    return render("workers/queues.html", queues=found)
