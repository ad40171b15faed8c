"""The task that sends the morning report."""

from __future__ import annotations

from typing import Any

from celery import shared_task

from webapp.database.engine import now
from webapp.report.mailing import send_reports


@shared_task(name="report.send_morning_reports", bind=True)
def send_morning_reports(self: Any) -> int:
    """Send the morning report to everyone who wants it; gives the number of emails."""
    return send_reports(now(), self.request.id)
