"""What its users do."""

from __future__ import annotations

from tests.adoption.projects.flask_shop.app import flask_app
from tests.adoption.projects.flask_shop.tasks import order


def load(call: str) -> None:
    """An order, as a view places it."""
    with flask_app.app_context():
        order.delay(call)
