"""Vendored files are unchanged, addresses change with content, every icon exists."""

from __future__ import annotations

import json
import re
from contextlib import closing
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.look import vendored
from webapp.web.templating import static_url

TEMPLATES = Path(__file__).parents[2] / "webapp" / "templates"
SPRITE = vendored.VENDOR / "tabler-icons@3.51.0" / "icons.svg"


def test_manifest_lists_every_vendored_file_with_its_hash() -> None:
    assert json.loads(vendored.MANIFEST.read_text()) == vendored.manifest()


def test_own_files_are_addressed_with_their_hash_and_vendored_ones_by_version(app: Flask) -> None:
    with app.test_request_context():
        assert re.fullmatch(r"/static/beatdesk\.css\?v=[0-9a-f]{12}", static_url("beatdesk.css"))
        assert static_url("vendor/htmx.org@4.0.1/htmx.min.js") == "/static/vendor/htmx.org@4.0.1/htmx.min.js"
        with pytest.raises(FileNotFoundError):
            static_url("misspelt.css")


def test_every_file_that_a_page_asks_for_exists(client: FlaskClient) -> None:
    page = client.get("/login").text
    asked = set(re.findall(r'(?:href|src)="(/static/[^"#]+)', page))
    assert len(asked) >= 7
    for path in asked:
        with closing(client.get(path)) as answer:
            assert (path, answer.status_code) == (path, 200)


def test_every_named_icon_is_in_the_sprite() -> None:
    drawn = set(re.findall(r'<symbol id="([^"]+)"', SPRITE.read_text()))
    text = "\n".join(path.read_text() for path in TEMPLATES.rglob("*.html"))
    named = set(re.findall(r"""(?:icon\(|picture=)['"]([a-z0-9-]+)['"]""", text))
    assert len(named) > 10
    assert named - drawn == set()


def test_no_template_has_inline_script_or_style() -> None:
    bad = re.compile(r"<style|<script(?![^>]*\bsrc=)|\sstyle=|\son[a-z]+=|hx-on|[\"']js:|javascript:")
    found = {
        str(path): bad.findall(path.read_text()) for path in TEMPLATES.rglob("*.html") if "email" not in path.parts
    }
    assert found
    assert {path: hits for path, hits in found.items() if hits} == {}
