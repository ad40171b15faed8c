"""Looking after the record of what ran."""

from __future__ import annotations

from typing import Any

from celery import shared_task

from webapp.database.engine import now
from webapp.execution.reporting import progress
from webapp.runs import retention


@shared_task(name="runs.retain", bind=True)
def retain(self: Any) -> dict[str, Any]:
    """Delete the runs that are older than /runs/retention says; gives how many of each state."""
    return retention.clean(now(), self.request.id, lambda sum_: progress(sum_, None, "deleted"))
