"""What its users do."""

from __future__ import annotations

from tests.adoption.projects.canvas.app import app
from tests.adoption.projects.canvas.tasks import report


def load(call: str) -> None:
    """Ask for a report."""
    app.set_current()
    report(call)
