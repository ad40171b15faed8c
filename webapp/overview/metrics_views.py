"""`/metrics`, for Prometheus and compatible programs."""

from __future__ import annotations

import hmac

from flask import Blueprint, Response, abort, current_app, request
from werkzeug.datastructures import WWWAuthenticate

from webapp.database.engine import now
from webapp.overview import metrics
from webapp.web.access import Permission, access

blueprint = Blueprint("metrics", __name__)


def _has_token() -> bool:
    """Whether the request has the bearer token of the setting METRICS_TOKEN; 401 for any other token."""
    given = request.authorization
    if given is None or given.type != "bearer":
        return False
    expected = current_app.extensions["settings"].metrics_token
    if not expected or not hmac.compare_digest((given.token or "").encode(), expected.encode()):
        abort(401, www_authenticate=WWWAuthenticate("bearer"))
    return True


@blueprint.get("/metrics")
@access(Permission.VIEW_METRICS, also=_has_token)
def show() -> Response:
    """All metrics, in Prometheus' text format or as OpenMetrics."""
    body, content_type = metrics.page(request.headers.get("Accept", ""), now())
    response = Response(body, content_type=content_type)
    response.headers["Cache-Control"] = "no-store"
    return response
