"""What its users do."""

from __future__ import annotations

from tests.adoption.projects.fastapi_shop.web import place


def load(call: str) -> None:
    """An order, as a request places it."""
    place(call)
