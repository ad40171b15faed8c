"""Somebody who is signed in."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests import visitors


@pytest.fixture
def signed_in(app: Flask) -> Callable[[str], FlaskClient]:
    """A browser in which somebody with a role is signed in: `signed_in("viewer")`."""

    def make(role: str) -> FlaskClient:
        client = app.test_client()
        visitors.signed_in(app, client, role)
        return client

    return make


def token(client: FlaskClient, path: str) -> str:
    """The CSRF token of a page's first form."""
    found = re.search(r'name="csrf_token"[^>]* value="([^"]+)"', client.get(path).text)
    assert found is not None
    return found.group(1)
