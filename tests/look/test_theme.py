"""The themes: light, dark, or the system's."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from tests.visitors import form_token
from webapp.overview.theme import own_path


def choose(client: FlaskClient, theme: str, back: str = "/login") -> tuple[int, str]:
    data = {"theme": theme, "back": back, "csrf_token": form_token(client.get("/login"))}
    answer = client.post("/theme", data=data)
    return answer.status_code, answer.headers.get("Location", "")


def test_without_a_choice_the_page_leaves_it_to_the_system(client: FlaskClient) -> None:
    page = client.get("/login").text
    assert '<html lang="en">' in page
    assert '<meta name="color-scheme" content="light dark">' in page


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_choice_is_remembered_and_leads_back(client: FlaskClient, theme: str) -> None:
    assert choose(client, theme) == (303, "/login")
    assert f'<html lang="en" data-bs-theme="{theme}">' in client.get("/login").text
    assert choose(client, "auto") == (303, "/login")
    assert '<html lang="en">' in client.get("/login").text


def test_an_unknown_theme_is_refused(client: FlaskClient) -> None:
    assert choose(client, "pink")[0] == 422
    client.set_cookie("theme", '"><script>')
    assert '<html lang="en">' in client.get("/login").text


def test_a_choice_without_a_token_is_refused(client: FlaskClient) -> None:
    assert client.post("/theme", data={"theme": "dark"}).status_code == 400


@pytest.mark.parametrize(
    "path", ["//evil.example", "/\\evil.example", "https://evil.example", "/\t/evil.example", "", "javascript:alert(1)"]
)
@pytest.mark.usefixtures("context")
def test_it_never_leads_to_another_host(path: str) -> None:
    assert own_path(path) == "/"


@pytest.mark.usefixtures("context")
def test_it_leads_back_with_the_query() -> None:
    assert own_path("/runs?state=failed&page=2") == "/runs?state=failed&page=2"
