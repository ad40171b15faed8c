"""The security headers are on everything: pages, errors, streams, and files that never reach Flask."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.visitors import Visitor
from webapp import create_app
from webapp.config import Settings
from webapp.extensions import db
from webapp.web.access import Permission
from webapp.web.headers import SECURITY, TLS_ONLY

SHEET = "/static/beatdesk.css"


@pytest.fixture
def served(settings: Settings) -> Iterator[Flask]:
    """The application as it is deployed: WhiteNoise serves the files."""
    app = create_app(settings.with_changes(testing=False, public_url="https://beat.example.com"))
    yield app
    with app.app_context():
        db.session.remove()
        db.engine.dispose()


def test_what_never_reaches_flask_carries_them(served: Flask) -> None:
    client: FlaskClient = served.test_client()
    whole = client.get(SHEET, buffered=True)
    assert whole.headers["Cache-Control"].startswith("max-age=31536000")
    answers = {
        200: whole,
        206: client.get(SHEET, headers={"Range": "bytes=0-9"}, buffered=True),
        304: client.get(SHEET, headers={"If-Modified-Since": whole.headers["Last-Modified"]}),
        405: client.post(SHEET),
        404: client.get("/static/none.css"),
        416: client.get(SHEET, headers={"Range": "bytes=99999999-"}),
    }
    for status, answer in answers.items():
        assert answer.status_code == status
        for name, value in (*SECURITY, TLS_ONLY):
            assert answer.headers.getlist(name) == [value], (status, name)
        assert "Access-Control-Allow-Origin" not in answer.headers


def test_pages_errors_and_streams_carry_them(app: Flask) -> None:
    @app.get("/broken")
    def broken() -> str:
        raise RuntimeError

    app.config["PROPAGATE_EXCEPTIONS"] = False
    broken.access = Permission.PUBLIC  # type: ignore[attr-defined]
    viewer, stranger = Visitor(app, "viewer"), app.test_client()
    answers = {
        "page": viewer.get("/runs"),
        "JSON": viewer.get("/runs", accept="application/json"),
        "redirect": stranger.get("/runs"),
        "not found": stranger.get("/none"),
        "forbidden": viewer.get("/audit"),
        "not allowed": viewer.get("/logout"),
        "bad request": stranger.post("/login"),
        "error": stranger.get("/broken"),
        "health": stranger.get("/healthz"),
    }
    stream = viewer.client.get("/live/runs", headers={"Accept": "text/event-stream"}, buffered=False)
    answers["stream"] = stream
    stream.close()
    assert {name: answer.status_code for name, answer in answers.items()} == {
        "page": 200, "JSON": 200, "redirect": 303, "not found": 404, "forbidden": 403, "not allowed": 405,
        "bad request": 400, "error": 500, "health": 200, "stream": 200,
    }  # fmt: skip
    for kind, answer in answers.items():
        for name, value in SECURITY:
            assert answer.headers.getlist(name) == [value], (kind, name)
        assert answer.headers["Cache-Control"] in {"no-store", "no-cache", "no-cache, private"}, kind
        assert TLS_ONLY[0] not in answer.headers
