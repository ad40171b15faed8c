"""What the shop does."""

from __future__ import annotations

from celery import Task

from tests.adoption.projects import ledger
from tests.adoption.projects.fastapi_shop.app import app
from tests.adoption.projects.fastapi_shop.models import note


@app.task(name="fastapi_shop.record", bind=True)
def record(self: Task, call: str) -> str:
    """One row in the ledger."""
    note(call, str(self.request.id))
    return call


@app.task(name="fastapi_shop.order", bind=True)
def order(self: Task, call: str) -> None:
    """Place an order."""
    note(f"order-{call}", str(self.request.id))


@app.task(name="fastapi_shop.slow", bind=True)
def slow(self: Task, call: str) -> None:
    """Acknowledged early, as by default: lost with its worker."""
    note(call, str(self.request.id))
    ledger.wait_for_gate()
