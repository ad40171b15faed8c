"""`/live`: streams of "ask again". What changed is asked for by the page itself, by the partial's own address."""

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
    """News when any run is made or changes."""
    return _stream(EVERY_RUN)


@blueprint.get("/runs/<run_id>")
@access(Permission.VIEW_RUNS)
def run(run_id: str) -> Response:
    """News when this run changes; silence for an id that nobody knows."""
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
    # Proxies that collect answers before they pass them on would keep the events back.
    response.headers["X-Accel-Buffering"] = "no"
    response.call_on_close(lambda: hub.leave(stream))
    return response


def _hub() -> Hub:
    """This process's; made by the first stream, after gunicorn has forked."""
    made: Hub | None = current_app.extensions.get("live")
    if made is None:
        # Two threads may both make one; the first that is stored is the one.
        app = current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001  # Flask's documented way
        made = current_app.extensions.setdefault("live", Hub(app))
    return made
