"""A browser without JavaScript, for tests: it keeps cookies and sends the token that the pages give it."""

from __future__ import annotations

import re
import uuid
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.support import reading
from webapp.accounts import passwords
from webapp.extensions import db
from webapp.identity.models import User
from webapp.identity.roles import roles_named

PASSWORD = "seven quiet umbrellas"
TOKEN = re.compile(r'name="csrf_token" value="([^"]+)"')


def add_user(app: Flask, email: str = "maya@example.com", *roles: str, name: str = "Maya Gurung", **more: Any) -> int:
    """A person with roles (member when none are named) and PASSWORD; gives the id."""
    with app.app_context():
        user = User(
            email=email,
            name=name,
            password=passwords.hashed(PASSWORD),
            fs_uniquifier=uuid.uuid4().hex,
            roles=list(roles_named(roles or ("member",))),
            **more,
        )
        db.session.add(user)
        db.session.commit()
        number = user.id
        db.session.remove()
    return number


class Browser:
    """One browser; `address` is where it asks from."""

    def __init__(self, app: Flask, address: str = "127.0.0.1") -> None:
        self.app = app
        self.client: FlaskClient = app.test_client()
        self.address = address

    def get(self, path: str, **more: Any) -> TestResponse:
        """Load a page."""
        return self.client.get(path, environ_base={"REMOTE_ADDR": self.address}, **more)

    def token(self, path: str = "/login") -> str:
        """The token in the forms of a page."""
        page = self.get(path, follow_redirects=True)
        found = TOKEN.search(page.text)
        assert found, page.text
        return found[1]

    def post(
        self, path: str, fields: dict[str, Any] | None = None, *, page: str = "/login", **more: Any
    ) -> TestResponse:
        """Fill in the form of a page and send it."""
        data = {"csrf_token": self.token(page), **(fields or {})}
        return self.client.post(path, data=data, environ_base={"REMOTE_ADDR": self.address}, **more)

    def post_json(self, path: str, fields: dict[str, Any], *, page: str = "/login") -> TestResponse:
        """Send JSON with the token in its header."""
        headers = {"X-CSRFToken": self.token(page)}
        return self.client.post(path, json=fields, headers=headers, environ_base={"REMOTE_ADDR": self.address})

    def sign_in(self, email: str = "maya@example.com", password: str = PASSWORD, **more: str) -> TestResponse:
        """Send the sign-in form."""
        return self.post("/login", {"email": email, "password": password, **more})

    def cookie(self) -> str:
        """The session's cookie, as a thief would copy it."""
        kept = self.client.get_cookie("beatdesk")
        assert kept is not None
        return kept.value

    def steal(self, cookie: str) -> Browser:
        """Another browser with a copied cookie."""
        thief = Browser(self.app, "203.0.113.9")
        thief.client.set_cookie("beatdesk", cookie)
        return thief

    def is_signed_in(self) -> bool:
        """Whether the account page opens."""
        return self.get("/account").status_code == 200


def all_rows(app: Flask, model: Any) -> list[Any]:
    """Every row of a table, detached, in the order of the ids."""
    with app.app_context(), reading():
        rows = list(db.session.query(model).order_by(model.id))
        db.session.expunge_all()
    return rows
