"""`/live`: streams that notify a page; the page then fetches its partial by its own address."""

from __future__ import annotations

from flask import Blueprint, Response, abort, current_app, request
from flask_security import current_user

from webapp.accounts import sessions
from webapp.live import connections
from webapp.live.hub import EVERY_RUN, Hub, TooManyStreams
from webapp.live.slots import STREAMS_PER_PERSON
from webapp.web.access import Permission, access

blueprint = Blueprint("live", __name__, url_prefix="/live")
EVENT_STREAM = "text/event-stream"


@blueprint.get("/runs")
@access(Permission.VIEW_RUNS)
def runs() -> Response:
    """Events when any run is created or changes."""
    return _stream(EVERY_RUN)


@blueprint.get("/runs/<run_id>")
@access(Permission.VIEW_RUNS)
def run(run_id: str) -> Response:
    """Events when this run changes; none for an unknown id."""
    return _stream(run_id)


def _stream(topic: str) -> Response:
    sign_in = sessions.current_id()
    if sign_in is None or EVENT_STREAM not in request.accept_mimetypes.values():
        abort(406, "This address is an event stream for open pages (text/event-stream).")
    hub = _hub()
    since = request.headers.get("Last-Event-ID", "")
    try:
        stream = hub.open(topic, current_user.id, sign_in, connections.of_request(request.environ), since)
    except TooManyStreams:
        abort(429, f"At most {STREAMS_PER_PERSON} open pages of one person get live updates; this page polls instead.")
    response = Response(iter(stream), mimetype=EVENT_STREAM)
    # A proxy that buffers responses would hold the events back.
    response.headers["X-Accel-Buffering"] = "no"
    response.call_on_close(lambda: hub.leave(stream))
    return response


def _hub() -> Hub:
    """The hub of this process, made by the first stream, after gunicorn has forked."""
    made: Hub | None = current_app.extensions.get("live")
    if made is None:
        # Of two hubs made by two threads the first one is kept.
        app = current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001  # Flask's documented way
        made = current_app.extensions.setdefault("live", Hub(app))
    return made
