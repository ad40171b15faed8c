"""The task that sends a message of the mail ledger."""

from __future__ import annotations

from typing import Any

from celery import shared_task

from webapp.mail import service


@shared_task(name="mail.send_mail", bind=True)
def send_mail(self: Any, mail_id: int) -> str:
    """Send one message of the mail ledger.

    Args:
        mail_id: The message's number at /mail.
    """
    return service.deliver(mail_id, self.request.id)
