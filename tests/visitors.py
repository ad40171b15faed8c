"""Signed-in people without a browser: a test client that carries the token which forms need."""

from __future__ import annotations

import hashlib
import re
import secrets
import uuid
from contextvars import copy_context
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from webapp.accounts.models import SignIn, User
from webapp.accounts.roles import roles_named
from webapp.accounts.sessions import TOKEN
from webapp.extensions import db

_FORM_TOKEN = re.compile(rb'name="csrf_token" value="([^"]+)"')


class Visitor:
    """Somebody with a role (or nobody): `get`, `post` as a browser, `htmx=True` as htmx does, `json=` as a program.

    Already signed in: hashing and checking a password takes longer than most tests that need somebody.
    """

    def __init__(self, app: Flask, role: str | None = None) -> None:
        self.app = app
        self.client: FlaskClient = app.test_client()
        self.token = ""
        if role is not None:
            self._sign_in(role)
        found = _FORM_TOKEN.search(self.get("/login" if role is None else "/").data)
        assert found is not None
        self.token = found[1].decode()

    def _sign_in(self, role: str) -> None:
        token, key = secrets.token_urlsafe(32), uuid.uuid4().hex
        with self.app.app_context():
            user = User(
                email=f"{role}@example.org",
                name="Sita Gurung",
                password="none",
                fs_uniquifier=key,
                timezone="Asia/Kathmandu",
                roles=list(roles_named((role,))),
            )
            db.session.add(user)
            db.session.flush()
            db.session.add(SignIn(id=hashlib.sha256(token.encode()).hexdigest(), user_id=user.id))
            db.session.commit()
            db.session.remove()
            with self.client.session_transaction() as session:
                session.update({"_user_id": key, "_fresh": True, TOKEN: token})

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
