"""The client that tests act with, and the people whom it signs in as."""

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

from tests.support import reading
from webapp.accounts import passwords
from webapp.accounts.sessions import TOKEN, digest
from webapp.extensions import db
from webapp.identity.models import SignIn, User
from webapp.identity.roles import roles_named

PASSWORD = "seven quiet umbrellas"
_FORM_TOKEN = re.compile(r'name="csrf_token" value="([^"]+)"')
_FIELD_ERROR = re.compile(r'<div class="field-error" id="([a-z_]+)-error">([^<]*)</div>')


def signed_in(app: Flask, client: FlaskClient, role: str, email: str | None = None) -> str:
    """Sign in the person with that address, or one with that role; returns the token that forms need.

    Without the form: to hash and check a password takes longer than most tests that need a person.
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


def add_user(app: Flask, email: str = "maya@example.com", *roles: str, name: str = "Maya Gurung", **more: Any) -> int:
    """A person with roles (member when none are named) and PASSWORD; returns the id."""
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


def all_rows(app: Flask, model: Any) -> list[Any]:
    """Every row of a table, detached, in the order of the ids."""
    with app.app_context(), reading():
        rows = list(db.session.query(model).order_by(model.id))
        db.session.expunge_all()
    return rows


class Visitor:
    """A browser without JavaScript (`get`, `post`), with htmx (`htmx=True`), or a program (`read`, `post_json`).

    With a role it is signed in from the start; without one, `sign_in` uses the form. `address` is where it asks from.
    """

    def __init__(self, app: Flask, role: str | None = None, *, address: str = "127.0.0.1") -> None:
        self.app = app
        self.client: FlaskClient = app.test_client()
        self.address = address
        self.token = "" if role is None else signed_in(app, self.client, role)

    def get(self, path: str, **more: Any) -> TestResponse:
        """Load a page. For what else can be given, see `open`."""
        return self.open("GET", path, **more)

    def read(self, path: str) -> Any:
        """A page's values, as a program reads them."""
        return self.get(path, accept="application/json").get_json()

    def post(self, path: str, data: dict[str, Any] | None = None, *, page: str = "/login", **more: Any) -> TestResponse:
        """Send a form, with the token of a page unless it has one from its sign-in."""
        return self.open("POST", path, data={"csrf_token": self.form_token(page), **(data or {})}, **more)

    def post_json(self, path: str, data: Any = None, *, page: str = "/login") -> TestResponse:
        """Send JSON, as a program does."""
        headers = {"X-CSRFToken": self.form_token(page)}
        values = {} if data is None else data
        return self.open("POST", path, accept="application/json", headers=headers, json=values)

    def form_token(self, page: str = "/login") -> str:
        """The token of its sign-in, else the one in the forms of a page."""
        return self.token or form_token(self.get(page, follow_redirects=True))

    def open(
        self,
        method: str,
        path: str,
        *,
        htmx: bool = False,
        accept: str = "text/html",
        headers: dict[str, str] | None = None,
        **more: Any,
    ) -> TestResponse:
        """Send a request, and read the whole answer; `more` goes to Flask's test client."""
        given = {"Accept": accept, **(headers or {})}
        if htmx:
            given["HX-Request"] = "true"
        if self.token:
            given.setdefault("X-CSRFToken", self.token)
        more.setdefault("environ_base", {"REMOTE_ADDR": self.address})
        # In a context of its own: a request inside of a test's context would see who asked last.
        # And what a request says of its transactions must not hold for those of the test.
        return copy_context().run(self._open, path, method=method, headers=given, **more)

    def _open(self, path: str, **more: Any) -> TestResponse:
        with self.app.app_context():
            # Read to its end here, where its context is.
            return self.client.open(path, buffered=True, **more)

    def sign_in(self, email: str = "maya@example.com", password: str = PASSWORD, **more: str) -> TestResponse:
        """Send the sign-in form."""
        return self.post("/login", {"email": email, "password": password, **more})

    def cookie(self) -> str:
        """The session's cookie, as a thief would copy it."""
        kept = self.client.get_cookie("beatdesk")
        assert kept is not None
        return kept.value

    def steal(self, cookie: str) -> Visitor:
        """Another browser with a copied cookie."""
        thief = Visitor(self.app, address="203.0.113.9")
        thief.client.set_cookie("beatdesk", cookie)
        return thief

    def is_signed_in(self) -> bool:
        """Whether the account page opens."""
        return self.get("/account").status_code == 200


def form_token(page: TestResponse) -> str:
    """The token in the first form of a page."""
    found = _FORM_TOKEN.search(page.text)
    assert found, page.text
    return found[1]


def number_of(answer: TestResponse) -> int:
    """The schedule that a redirect leads to."""
    assert answer.status_code == 303, answer.text
    return int(answer.headers["Location"].rstrip("/").rsplit("/", 1)[1])


def field_errors(answer: TestResponse) -> dict[str, str]:
    """The errors of a form page, by field."""
    return dict(_FIELD_ERROR.findall(answer.text))
