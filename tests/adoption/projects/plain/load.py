"""What its users do."""

from __future__ import annotations

from tests.adoption.projects.plain import tasks


def load(call: str) -> None:
    """An order, and one that is refused."""
    tasks.place.delay(call)
    tasks.refuse.delay(call)
