"""A problem that pages show, as a value."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from webapp.web.hosts import root


@dataclass(frozen=True, slots=True)
class Sign:
    """A problem and what to do about it.

    `text` says what is wrong, `since_text` and `since` since when, if that is known, `action` and `command` what to do.
    `link` is the path of a page with details, below the application's root, and the words of the link. With a `check`,
    `/readyz` responds with 503 and has that text at the sign's key.
    """

    key: str
    text: str
    action: str
    severity: str = "danger"
    since: datetime | None = None
    since_text: str = ""
    command: str = ""
    link: tuple[str, str] | None = None
    check: str = ""

    @property
    def address(self) -> str | None:
        """The URL path of the page with details."""
        return f"{root()}{self.link[0]}" if self.link else None

    def as_json(self) -> dict[str, object]:
        """The sign as JSON values; `since` is ISO 8601."""
        return {
            "key": self.key,
            "severity": self.severity,
            "text": self.text,
            "since": self.since.isoformat() if self.since else None,
            "action": self.action,
            "command": self.command or None,
            "link": self.address,
        }
