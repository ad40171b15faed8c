"""The local mailbox: what the SMTP sink of `make run` took, one `.eml` file a message."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

from webapp.web.errors import NotFound

NAME = re.compile(r"[A-Za-z0-9._-]+\.eml")
# A message larger than this is not read into a page.
LARGEST = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Letter:
    """One message of the mailbox, as text. `html` is None for a message without that part."""

    name: str
    arrived: datetime
    sender: str
    recipient: str
    subject: str
    text: str
    html: str | None


def names(folder: Path, *, before: str = "", count: int = 50) -> list[str]:
    """The newest messages' file names, newest first; `before` is the last one of the page before."""
    if not folder.is_dir():
        return []
    found = sorted((path.name for path in folder.iterdir() if NAME.fullmatch(path.name)), reverse=True)
    if before:
        found = [name for name in found if name < before]
    return found[:count]


def read(folder: Path, name: str) -> Letter:
    """One message. Raises NotFound for a name that is no message of this mailbox."""
    path = folder / name
    if not NAME.fullmatch(name) or not path.is_file() or path.stat().st_size > LARGEST:
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
