"""What the shop does."""

from __future__ import annotations

from celery import Task, shared_task
from django.db import transaction

from tests.adoption.projects import ledger
from tests.adoption.projects.django_shop.models import Execution


@shared_task(name="django_shop.record", bind=True)
def record(self: Task, call: str) -> str:
    """One row in the ledger."""
    Execution.objects.create(call=call, task_id=self.request.id)
    return call


@shared_task(name="django_shop.order", bind=True)
def order(self: Task, call: str) -> str:
    """Place an order, and send its mail once it is committed."""
    with transaction.atomic():
        Execution.objects.create(call=f"order-{call}", task_id=self.request.id)
        transaction.on_commit(lambda: record.delay(f"mail-{call}"))
    return call


@shared_task(name="django_shop.slow", bind=True)
def slow(self: Task, call: str) -> None:
    """Acknowledged early, as by default: lost with its worker."""
    Execution.objects.create(call=call, task_id=self.request.id)
    ledger.wait_for_gate()
