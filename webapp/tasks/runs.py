"""The task that deletes old runs."""

from __future__ import annotations

from typing import Any

from celery import shared_task

from beatdesk.execution.reporting import progress
from webapp.database.engine import now
from webapp.runs.retention import service


@shared_task(name="runs.retain", bind=True)
def retain(self: Any) -> dict[str, Any]:
    """Delete runs older than the rules at /runs/retention; gives the number of each state."""
    return service.clean(now(), self.request.id, lambda sum_: progress(sum_, None, "deleted"))
