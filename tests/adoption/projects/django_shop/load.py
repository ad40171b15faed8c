"""What its users do."""

from __future__ import annotations

import django

from tests.adoption.projects.django_shop.app import app

django.setup()
app.set_default()

from tests.adoption.projects.django_shop.tasks import order  # noqa: E402 - Django must be set up before its models


def load(call: str) -> None:
    """An order, as a view places it."""
    order.delay(call)
