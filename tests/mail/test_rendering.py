"""The wording of every kind of mail, filled in."""

from __future__ import annotations

from pathlib import Path

import jinja2
import pytest
from flask import Flask

from webapp.mail.errors import UnsafeMessage
from webapp.mail.rendering import KINDS, render

TEMPLATES = Path(__file__).parents[2] / "webapp" / "templates"
ENVIRONMENT = jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_email_names_its_recipient(kind: str) -> None:
    subject, text, html = render(kind, KINDS[kind].example, ENVIRONMENT)
    assert subject
    assert "\n" not in subject
    assert "Maya Gurung" in text
    assert "Maya Gurung" in html or "Maya Gurung" in subject
    for form in (text, html):
        assert "https://beatdesk.example" in form
        assert "You are receiving this email" in form
    assert html.startswith("<!DOCTYPE html>") or html.lstrip().startswith("<!DOCTYPE html>")
    assert "prefers-color-scheme: dark" in html


def test_every_folder_of_wording_is_a_kind() -> None:
    assert {folder.name for folder in (TEMPLATES / "email").iterdir() if folder.is_dir()} == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("own", [False, True])
def test_html_is_escaped_and_text_is_not(kind: str, own: bool) -> None:
    # Whatever the environment's own rules are: Flask's, or none.
    env = Flask("webapp").jinja_env if own else jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES))
    name = "<b>Tom & 'Ann'</b>"
    subject, text, html = render(kind, {**KINDS[kind].example, "name": name, "site_name": "A&B"}, env)
    assert name in text
    assert "<b>" not in html
    assert "A&B" not in html
    assert "&amp;" not in subject + text


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_value_is_an_error(kind: str) -> None:
    for missing in KINDS[kind].example:
        context = {key: value for key, value in KINDS[kind].example.items() if key != missing}
        with pytest.raises(jinja2.UndefinedError, match=missing):
            render(kind, context, ENVIRONMENT)


def test_a_value_cannot_break_the_subject() -> None:
    example = {**KINDS["schedule_paused"].example, "schedule": "Eve\r\nBcc: all@example.com"}
    with pytest.raises(UnsafeMessage):
        render("schedule_paused", example, ENVIRONMENT)


@pytest.mark.parametrize("kind", KINDS)
def test_a_name_is_in_no_subject_and_may_be_left_out(kind: str) -> None:
    named, nameless = (render(kind, {**KINDS[kind].example, "name": name}, ENVIRONMENT) for name in ("Eve Doe", ""))
    assert named[0] == nameless[0]
    assert "Eve Doe" in named[1]
    assert all(wrong not in nameless[1] + nameless[2] for wrong in ("Hello ,", ", !", "birthday !", "Welcome !"))


def test_the_unsubscribe_link_is_there_when_given() -> None:
    url = "https://beatdesk.example/unsubscribe/abc"
    _, text, html = render("birthday", {**KINDS["birthday"].example, "unsubscribe_url": url}, ENVIRONMENT)
    assert f"Unsubscribe: {url}\n" in text
    assert f'href="{url}"' in html
    _, text, html = render("birthday", {**KINDS["birthday"].example, "unsubscribe_url": None}, ENVIRONMENT)
    assert "nsubscribe" not in text + html


def test_the_owner_of_a_taken_address_learns_how_to_get_in() -> None:
    _, text, html = render("address_taken", KINDS["address_taken"].example, ENVIRONMENT)
    for link in ("https://beatdesk.example/login", "https://beatdesk.example/reset"):
        assert link in text
        assert f'href="{link}"' in html


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(KeyError):
        render("../welcome", {}, ENVIRONMENT)
