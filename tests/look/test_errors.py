"""The error pages."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sqlalchemy as sa
from flask import Flask, abort

from tests.visitors import Visitor
from webapp.extensions import db
from webapp.web.access import Permission, access
from webapp.web.errors import ADVICE, TITLES, Invalid


@pytest.fixture
def failing(app: Flask) -> Flask:
    """The application with a page that fails as requested."""

    @app.get("/fail/<int:status>")
    @access(Permission.PUBLIC)
    def fail(status: int) -> str:
        if status == 500:
            raise ZeroDivisionError
        if status == 422:
            raise Invalid({"every": "<b>At least 1</b>."})
        abort(status)

    return app


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 409, 413, 422, 429, 500, 503])
def test_each_error_explains_what_happened_and_what_to_do(failing: Flask, status: int) -> None:
    answer = failing.test_client().get(f"/fail/{status}")
    assert answer.status_code == status
    assert f"<h1>{TITLES[status]}</h1>" in answer.text
    assert ADVICE[status] in answer.text
    assert 'href="/">Go to overview</a>' in answer.text


def test_an_error_inside_a_page_is_a_fragment(failing: Flask) -> None:
    for status in (404, 503):
        text = failing.test_client().get(f"/fail/{status}", headers={"HX-Request": "true"}).text
        assert "<html" not in text
        assert TITLES[status] in text


def test_what_a_person_typed_is_text_in_an_error(failing: Flask) -> None:
    assert "&lt;b&gt;At least 1&lt;/b&gt;" in failing.test_client().get("/fail/422").text


def test_errors_are_json_for_programs(failing: Flask) -> None:
    answer = failing.test_client().get("/fail/422", headers={"Accept": "application/json"})
    assert answer.get_json()["fields"] == {"every": "<b>At least 1</b>."}


def test_the_database_away_is_a_page_of_its_own(app: Flask, signed_in: Callable[[str], Visitor]) -> None:
    client = signed_in("admin")
    with app.app_context():
        db.session.execute(sa.text("ALTER TABLE users RENAME TO gone"))
        db.session.commit()
    for path in ("/", "/no-such-page"):
        answer = client.get(path)
        assert answer.status_code == 503
        assert TITLES[503] in answer.text
        assert 'class="side"' not in answer.text
        assert answer.headers["Retry-After"] == "5"


def test_an_error_in_the_frame_itself_still_shows_a_page(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> str:
        raise ZeroDivisionError

    app.jinja_env.globals["this_page"] = broken
    answer = app.test_client().get("/login")
    assert answer.status_code == 500
    assert TITLES[500] in answer.text
    assert "cannot be rendered" in caplog.text
