"""Applications whose broker or Redis is down."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from flask import Flask

from webapp import create_app
from webapp.config import Settings
from webapp.extensions import celery, db
from webapp.messaging import broker

# No server listens on port 1.
NOWHERE = "redis://127.0.0.1:1/0"


@contextmanager
def away(settings: Settings, *, redis: bool = False) -> Iterator[Flask]:
    """An application with its context pushed, whose broker is away, and Redis too when asked for."""
    changes = {"broker_url": NOWHERE} | ({"redis_url": NOWHERE} if redis else {})
    forget_connections()
    app = create_app(settings.with_changes(**changes))
    with app.app_context():
        yield app
        db.session.remove()
        db.engine.dispose()
    forget_connections()


def forget_connections() -> None:
    """The Celery app is one for the process, and keeps connections to the broker of the test before."""
    celery._pool = None
    celery.amqp._producer_pool = None
    broker.breaker.reset()
