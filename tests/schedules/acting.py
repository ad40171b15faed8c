"""A browser without JavaScript that keeps its token."""

from __future__ import annotations

import re
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse


class Visitor:
    """Somebody who is signed in."""

    def __init__(self, client: FlaskClient, token: str) -> None:
        self.client = client
        self._token = token

    def get(self, path: str, **headers: str) -> TestResponse:
        return self.client.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})

    def post(self, path: str, fields: dict[str, Any] | None = None, **headers: str) -> TestResponse:
        """Post a form, as the page's own form would."""
        sent = {**(fields or {}), "csrf_token": self._token}
        return self.client.post(path, data=sent, headers={n.replace("_", "-"): v for n, v in headers.items()})

    def send(self, path: str, values: Any = None) -> TestResponse:
        """Post JSON."""
        return self.client.post(path, json={} if values is None else values, headers={"X-CSRFToken": self._token})

    def read(self, path: str) -> Any:
        """What a program gets."""
        return self.client.get(path, headers={"Accept": "application/json"}).get_json()


def number_of(answer: TestResponse) -> int:
    """The schedule that a redirect leads to."""
    assert answer.status_code == 303, answer.text
    return int(answer.headers["Location"].rstrip("/").rsplit("/", 1)[1])


def field_errors(answer: TestResponse) -> dict[str, str]:
    """The errors of a form page, by field."""
    found = re.findall(r'<div class="field-error" id="([a-z_]+)-error">([^<]*)</div>', answer.text)
    return dict(found)
