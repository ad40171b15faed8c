"""Signed-in people without a browser: a test client that carries the token which forms need."""

from __future__ import annotations

import re
import secrets
import uuid
from contextvars import copy_context
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from itsdangerous import URLSafeTimedSerializer
from werkzeug.test import TestResponse

from webapp.accounts.sessions import TOKEN, digest
from webapp.extensions import db
from webapp.identity.models import SignIn, User
from webapp.identity.roles import roles_named

_FORM_TOKEN = re.compile(rb'name="csrf_token" value="([^"]+)"')


def signed_in(app: Flask, client: FlaskClient, role: str, email: str | None = None) -> str:
    """Sign in whoever has that address, or somebody with that role; gives the token that forms need.

    Without the form: hashing and checking a password takes longer than most tests that need somebody.
    """
    token = secrets.token_urlsafe(32)
    with app.app_context():
        user = person(role, email)
        db.session.add(SignIn(id=digest(token), user_id=user.id))
        db.session.commit()
        key = user.fs_uniquifier
        db.session.remove()
    kept = secrets.token_hex(20)
    with client.session_transaction() as cookie:
        cookie.update({"_user_id": key, "_fresh": True, TOKEN: token, "csrf_token": kept})
    # As Flask-WTF signs what the session keeps.
    form_token = URLSafeTimedSerializer(app.config["SECRET_KEY"], salt="wtf-csrf-token").dumps(kept)
    assert isinstance(form_token, str)
    return form_token


def person(role: str, email: str | None = None) -> User:
    """The person of that address, made with that role when there is none; their password fits nothing."""
    email = email or f"{role}@example.org"
    found = db.session.query(User).filter_by(email=email).one_or_none()
    if found is None:
        found = User(
            email=email,
            name="Sita Gurung",
            password="none",
            fs_uniquifier=uuid.uuid4().hex,
            timezone="Asia/Kathmandu",
            roles=list(roles_named((role,))),
        )
        db.session.add(found)
        db.session.flush()
    return found


class Visitor:
    """Somebody with a role (or nobody): `get`, `post` as a browser, `htmx=True` as htmx does, `json=` as a program."""

    def __init__(self, app: Flask, role: str | None = None) -> None:
        self.app = app
        self.client: FlaskClient = app.test_client()
        self.token = ""
        if role is not None:
            self.token = signed_in(app, self.client, role)
        else:
            found = _FORM_TOKEN.search(self.get("/login").data)
            assert found is not None
            self.token = found[1].decode()

    def get(self, path: str, *, htmx: bool = False, accept: str = "text/html", **headers: str) -> TestResponse:
        return self.open("GET", path, htmx=htmx, accept=accept, headers=headers)

    def post(
        self, path: str, data: dict[str, Any] | None = None, *, htmx: bool = False, accept: str = "text/html"
    ) -> TestResponse:
        return self.open("POST", path, htmx=htmx, accept=accept, data=data or {})

    def post_json(self, path: str, data: Any) -> TestResponse:
        return self.open("POST", path, accept="application/json", json=data)

    def open(
        self,
        method: str,
        path: str,
        *,
        htmx: bool = False,
        accept: str,
        headers: dict[str, str] | None = None,
        **more: Any,
    ) -> TestResponse:
        given = {"Accept": accept, "X-CSRFToken": self.token, **(headers or {})}
        if htmx:
            given["HX-Request"] = "true"
        # In a context of its own: a request inside of a test's context would see who asked last.
        # And what a request says of its transactions must not hold for those of the test.
        return copy_context().run(self._open, path, method=method, headers=given, **more)

    def _open(self, path: str, **more: Any) -> TestResponse:
        with self.app.app_context():
            # Read to its end here, where its context is.
            return self.client.open(path, buffered=True, **more)
