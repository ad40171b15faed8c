"""The task that sends birthday emails."""

from __future__ import annotations

from typing import Any

from celery import shared_task

from webapp.database.engine import now
from webapp.people.birthdays import send_birthday_mails


@shared_task(name="people.send_birthday_emails", bind=True)
def send_birthday_emails(self: Any) -> int:
    """Send an email to each person whose birthday is today; gives the number of emails."""
    return send_birthday_mails(now(), self.request.id)
