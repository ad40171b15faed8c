"""The frame of every page: navigation by role, messages, who is signed in."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from flask import Flask, flash, render_template
from flask.testing import FlaskClient

from tests.visitors import Visitor
from webapp.web.access import Permission, access

ALL = ["/", "/schedules", "/runs", "/failures", "/people", "/mail", "/workers", "/queues", "/audit"]


@pytest.mark.parametrize(
    ("role", "paths"),
    [("admin", ALL), ("viewer", [path for path in ALL if path not in ("/people", "/audit")]), ("member", [])],
)
def test_navigation_shows_what_the_role_may_see(
    signed_in: Callable[[str], Visitor], role: str, paths: list[str]
) -> None:
    page = signed_in(role).get("/").text
    listed = page.partition('<ul class="side-nav">')[2].partition("</ul>")[0]
    assert re.findall(r'<a [^>]*href="([^"]+)"', listed) == paths
    assert 'action="/logout"' in page


def test_the_current_entry_is_marked_alone(signed_in: Callable[[str], Visitor]) -> None:
    client = signed_in("admin")
    marked = re.findall(r'href="([^"]+)"\s*aria-current="page"', client.get("/").text)
    assert marked == ["/"]


def test_strangers_can_sign_in_or_register(client: FlaskClient) -> None:
    page = client.get("/login").text
    assert 'href="/register"' in page
    assert 'action="/logout"' not in page


def test_a_flashed_message_is_text_with_a_way_to_dismiss_it(app: Flask) -> None:
    @app.get("/say")
    @access(Permission.PUBLIC)
    def say() -> str:
        flash("<i>Saved</i>", "success")
        return render_template("accounts/login.html")

    page = app.test_client().get("/say?a=1").text
    assert "&lt;i&gt;Saved&lt;/i&gt;" in page
    assert re.search(r'class="alert alert-success notice"\s+role="status"', page)
    assert 'href="/say?a=1" data-dismiss="notice"' in page
