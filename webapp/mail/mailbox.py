"""The local mailbox: the messages that the SMTP sink of `make run` received, one `.eml` file each."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

from webapp.web.errors import NotFound

NAME = re.compile(r"[A-Za-z0-9._-]+\.eml")
# Larger messages are not shown.
MAX_BYTES = 4 * 1024 * 1024
PAGE_SIZE = 50


@dataclass(frozen=True, slots=True)
class Letter:
    """One message of the mailbox, decoded. `html` is None for a message without an HTML part."""

    name: str
    arrived: datetime
    sender: str
    recipient: str
    subject: str
    text: str
    html: str | None


def names(folder: Path, *, before: str) -> list[str]:
    """The file names of a page of messages, newest first; `before` is the last name of the page before, or empty."""
    if not folder.is_dir():
        return []
    found = sorted((path.name for path in folder.iterdir() if NAME.fullmatch(path.name)), reverse=True)
    if before:
        found = [name for name in found if name < before]
    return found[:PAGE_SIZE]


def read_message(folder: Path, name: str) -> Letter:
    """One message. Raises NotFound if the mailbox has no message of this name."""
    path = folder / name
    if not NAME.fullmatch(name) or not path.is_file() or path.stat().st_size > MAX_BYTES:
        raise NotFound(f"The mailbox has no email {name}.")
    message = message_from_bytes(path.read_bytes(), policy=policy.default)
    return Letter(
        name=name,
        arrived=datetime.fromtimestamp(path.stat().st_mtime, UTC),
        sender=str(message.get("From", "")),
        recipient=str(message.get("To", "")),
        subject=str(message.get("Subject", "")) or "(no subject)",
        text=_part(message, "plain") or "",
        html=_part(message, "html"),
    )


def _part(message: EmailMessage, kind: str) -> str | None:
    part = message.get_body(preferencelist=(kind,))
    return str(part.get_content()) if part is not None else None
