"""A gateway and a mail for tests."""

from __future__ import annotations

from typing import Any

from webapp.config import MailSettings
from webapp.mail.gateway import Gateway
from webapp.mail.message import OutgoingMail

SECRET = "a secret for tests only"


def gateway(port: int, **settings: Any) -> Gateway:
    settings = {"server": "127.0.0.1", "sender": "Beatdesk <beatdesk@example.com>", "timeout": 10.0, **settings}
    return Gateway(MailSettings(port=port, **settings), SECRET)


def mail(**changes: Any) -> OutgoingMail:
    values: dict[str, Any] = {
        "key": "welcome:1",
        "recipient": "maya@example.com",
        "recipient_name": "Maya",
        "subject": "Hello",
        "text": "Hello Maya\n",
        "html": "<p>Hello Maya</p>\n",
    }
    return OutgoingMail(**{**values, **changes})
