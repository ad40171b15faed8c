"""Registration while the broker is away: the welcome mail goes out by itself when it is back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from tests import processes, servers
from tests.mail.servers import Mailbox, Server
from tests.people.test_registering import FIELDS
from tests.servers import wait_for
from tests.visitors import Visitor
from webapp import create_app
from webapp.config import MailSettings, Settings
from webapp.extensions import celery, db, limiter
from webapp.messaging.broker import breaker

pytestmark = pytest.mark.slow


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox()


@pytest.fixture
def away(databases: servers.Databases, mailbox: Mailbox, tmp_path: Path) -> Iterator[tuple[Settings, int]]:
    """Settings whose Redis is not there yet, and the port on which it will be."""
    port = servers.free_port()
    with Server(mailbox) as smtp:
        settings = servers.settings(databases.sqlite(), f"redis://127.0.0.1:{port}/0", data=tmp_path)
        yield settings.with_changes(mail=MailSettings(port=smtp.port)), port


@pytest.fixture
def app(away: tuple[Settings, int]) -> Iterator[Flask]:
    # The Celery app is one for the process, and would go on with a connection of the test before.
    celery._after_fork()
    made = create_app(away[0])
    yield made
    celery._after_fork()
    limiter._storage_dead = False
    breaker.reset()
    with made.app_context():
        db.session.remove()
        db.engine.dispose()


def test_registered_while_the_broker_was_away_is_welcomed_when_it_is_back(
    app: Flask, away: tuple[Settings, int], mailbox: Mailbox, tmp_path: Path
) -> None:
    settings, port = away
    browser = Visitor(app)
    answer = browser.client.post("/register", data={**FIELDS, "csrf_token": browser.form_token("/register")})
    assert (answer.status_code, answer.location) == (303, "/register/done")
    worker = processes.Process(settings, "worker", ["celery", "-A", "wsgi:celery", "worker", "--pool", "solo"])
    with processes.running(worker), processes.running(processes.beat(settings)):
        assert mailbox.contents == []
        with servers.valkey(tmp_path / "valkey", port):
            wait_for(lambda: mailbox.contents, seconds=60, message="no welcome mail")
            assert mailbox.recipients == [[FIELDS["email"].lower()]]
