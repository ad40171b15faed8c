"""The application behind a real socket, people to sign in as, and a Chromium to look with."""

from __future__ import annotations

import shutil
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from flask import Flask
from flask_security import hash_password
from playwright.sync_api import Browser, Page, sync_playwright
from werkzeug.serving import WSGIRequestHandler, make_server

from webapp.extensions import db
from webapp.identity.models import Role, User
from webapp.web.access import ROLES

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

PASSWORD = "a long pass phrase"
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
# Without these it asks other hosts for updates, or wants a graphics card or a sandbox that a container lacks.
CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


class _Quiet(WSGIRequestHandler):
    """Does not write a line for each request."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing."""


@contextmanager
def serving(app: Flask) -> Iterator[str]:
    """Serve the application on a free port; yields its address without a slash at the end."""

    def closed(environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        """The application's answer, closed whatever happens: this server leaves it open when the browser has gone."""
        answer = app(environ, start_response)
        try:
            yield from answer
        finally:
            if hasattr(answer, "close"):
                answer.close()

    server = make_server("127.0.0.1", 0, closed, threaded=True, request_handler=_Quiet)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


@contextmanager
def chromium() -> Iterator[Browser]:
    """The machine's Chromium. Raises RuntimeError when there is none."""
    found = next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    if found is None:
        raise RuntimeError(f"no Chromium found; install one of: {', '.join(CHROMIUM_NAMES)}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=CHROMIUM_ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


def add_person(app: Flask, role: str, name: str = "Sita Gurung") -> str:
    """A person with a role, whose password is `PASSWORD`; returns the email address."""
    email = f"{role}@example.org"
    with app.app_context():
        if db.session.query(User).filter_by(email=email).first() is None:
            rank = db.session.query(Role).filter_by(name=role).first() or Role(name=role, description=ROLES[role][1])
            db.session.add(
                User(
                    email=email,
                    name=name,
                    password=hash_password(PASSWORD),
                    fs_uniquifier=uuid.uuid4().hex,
                    timezone="Asia/Kathmandu",
                    roles=[rank],
                )
            )
            db.session.commit()
        db.session.remove()
    return email


def sign_in(page: Page, address: str, email: str) -> None:
    """Sign in as the browser of this page, by the form's own request."""
    page.goto(f"{address}/login")
    token = page.locator("input[name=csrf_token]").first.input_value()
    answer = page.request.post(
        f"{address}/login",
        form={"email": email, "password": PASSWORD, "csrf_token": token},
        headers={"Referer": f"{address}/login"},
    )
    assert answer.ok, answer.text()
    assert not answer.url.endswith("/login"), "the sign-in was refused"
