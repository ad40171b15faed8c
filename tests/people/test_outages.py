"""Registering does not depend on the servers that send the email."""

from __future__ import annotations

import dataclasses
import time

from flask import Flask

from tests.people.test_registering import FIELDS
from tests.visitors import Visitor, all_rows
from webapp import create_app
from webapp.config import Settings
from webapp.extensions import celery, db, limiter
from webapp.identity.models import User
from webapp.mail_store.models import Mail
from webapp.messaging.broker import breaker
from webapp.run_store.models import Run


def register(app: Flask) -> float:
    """Register a person; returns how long it took, in seconds."""
    browser = Visitor(app)
    token = browser.form_token("/register")
    began = time.monotonic()
    answer = browser.client.post("/register", data={**FIELDS, "csrf_token": token})
    assert (answer.status_code, answer.location) == (303, "/register/done")
    return time.monotonic() - began


def test_without_a_broker_it_succeeds_and_the_run_waits(settings: Settings) -> None:
    gone = "redis://127.0.0.1:1/0"
    app = create_app(dataclasses.replace(settings, redis_url=gone, broker_url=gone, result_backend=gone))
    # The Celery app is one for the process, and would go on with a connection of the test before.
    celery._after_fork()
    try:
        assert register(app) < 5
        (run,), (mail,) = all_rows(app, Run), all_rows(app, Mail)
        assert (run.state, run.sent_at, mail.state) == ("queued", None, "pending")
        assert len(all_rows(app, User)) == 1
    finally:
        celery._after_fork()
        limiter._storage_dead = False
        breaker.reset()
        with app.app_context():
            db.session.remove()
            db.engine.dispose()


def test_without_a_worker_it_succeeds_and_the_message_waits(app: Flask) -> None:
    assert register(app) < 5
    (run,) = all_rows(app, Run)
    assert run.state == "queued"
    assert run.sent_at is not None
