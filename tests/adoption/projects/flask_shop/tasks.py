"""What the shop does; each task needs the application's context, for its settings and its database."""

from __future__ import annotations

from celery import Task, shared_task
from flask import current_app

from tests.adoption.projects import ledger
from tests.adoption.projects.flask_shop.models import Execution, db


def _note(call: str, task_id: str) -> None:
    db.session.add(Execution(call=call, task_id=task_id, shop=current_app.config["SHOP_NAME"]))
    db.session.commit()


@shared_task(name="flask_shop.record", bind=True)
def record(self: Task, call: str) -> str:
    """One row in the ledger."""
    _note(call, self.request.id)
    return call


@shared_task(name="flask_shop.order", bind=True, max_retries=1)
def order(self: Task, call: str) -> None:
    """Place an order at the second attempt, and send its mail."""
    _note(f"order{self.request.retries}-{call}", self.request.id)
    if self.request.retries == 0:
        raise self.retry(countdown=0)
    record.delay(f"mail-{call}")


@shared_task(name="flask_shop.slow", bind=True, acks_late=True)
def slow(self: Task, call: str) -> None:
    """Acknowledged late: executed again when its worker is lost."""
    _note(call, self.request.id)
    ledger.wait_for_gate()
