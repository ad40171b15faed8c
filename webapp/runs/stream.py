"""What workers tell about runs: entries of one capped Redis stream, read by the recorder and by live pages."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

STREAM = "beatdesk:runs"
GROUP = "recorder"
# Entries kept for live pages and for a recorder that is away; older ones are dropped, and the claims' time-out finds
# the runs that this concerns.
STREAM_LENGTH = 200_000
# A larger result or traceback is cut, and says so: a page has to show it, and Redis to hold it.
TEXT_LIMIT = 256 * 1024


class Event(StrEnum):
    """What happened to a run. `PUBLISHED`: another task sent its message."""

    PUBLISHED = "published"
    RECEIVED = "received"
    STARTED = "started"
    PROGRESS = "progress"
    LINE = "line"
    RETRYING = "retrying"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REVOKED = "revoked"
    EXPIRED = "expired"


# After these an attempt is over.
OVER = frozenset({Event.RETRYING, Event.SUCCEEDED, Event.FAILED, Event.REVOKED, Event.EXPIRED})
# What no list of runs shows.
ONLY_DETAILS = frozenset({Event.RECEIVED, Event.PROGRESS, Event.LINE})


class Entry(NamedTuple):
    """One thing that happened. `attempt` is Celery's count of retries; `text` is the result, the error or the reason.

    For progress, lines and what was published it is JSON. `entry_id` is where it stands in the stream, or another name
    that is its own.
    `seconds` is how long the task ran, where it has ended. `received` and `began` are when the worker received the run
    and began this attempt, in an entry that tells this besides what it is about.
    """

    run_id: str
    event: Event
    attempt: int
    at: datetime
    text: str = ""
    traceback: str = ""
    worker: str = ""
    entry_id: str = ""
    task: str = ""
    seconds: float | None = None
    received: datetime | None = None
    began: datetime | None = None

    def fields(self) -> dict[str, str]:
        """As Redis keeps it; empty values are left out."""
        given = {"run": self.run_id, "event": self.event.value, "attempt": str(self.attempt), "at": self.at.isoformat()}
        if self.text:
            given["text"] = limited(self.text)
        if self.traceback:
            given["traceback"] = limited(self.traceback)
        if self.worker:
            given["worker"] = self.worker
        if self.task:
            given["task"] = self.task
        if self.seconds is not None:
            given["seconds"] = f"{self.seconds:.6f}"
        if self.received:
            given["received"] = self.received.isoformat()
        if self.began:
            given["began"] = self.began.isoformat()
        return given

    @classmethod
    def parse(cls, fields: dict[str, str], entry_id: str = "") -> Entry:
        """From Redis. Raises ValueError or KeyError for what is not ours."""
        return cls(
            run_id=fields["run"],
            event=Event(fields["event"]),
            attempt=int(fields["attempt"]),
            at=datetime.fromisoformat(fields["at"]),
            text=fields.get("text", ""),
            traceback=fields.get("traceback", ""),
            worker=fields.get("worker", ""),
            entry_id=entry_id,
            task=fields.get("task", ""),
            seconds=float(fields["seconds"]) if "seconds" in fields else None,
            received=_moment(fields.get("received")),
            began=_moment(fields.get("began")),
        )


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def limited(text: str) -> str:
    """The text, cut at the limit with a remark that it was."""
    # A NUL is legal in JSON and in Python, but PostgreSQL's text cannot hold one.
    text = text.replace("\x00", "\\u0000")
    if len(text) <= TEXT_LIMIT:
        return text
    return f"{text[:TEXT_LIMIT]}\n… cut here; {len(text):,} characters in all"
