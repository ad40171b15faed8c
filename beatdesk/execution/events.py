"""The format of the stream: what happened to runs, appended by workers to a capped Redis stream for the recorder."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, NamedTuple

from beatdesk.encoding import NAME_LENGTH, encodable, shortened

STREAM = "beatdesk:runs"
GROUP = "recorder"
# Entries kept for a recorder that is away; older ones are dropped, and the runs that lose one end by the claims'
# time-out.
STREAM_LENGTH = 200_000
# A larger result or traceback is cut, and says so: a page has to show it, and Redis to hold it.
TEXT_LIMIT = 256 * 1024
# Limits of the columns of `runs`: characters of an id, and the largest number.
ID_LENGTH = 36
MAX_INTEGER = 2**31 - 1
# Moments of other years cannot be shown in every time zone.
YEARS = range(1970, 9999)


class Event(StrEnum):
    """What happened to a run. `PUBLISHED`: another task sent it. `OBSERVED`: a worker that is not ours began it.

    `RELEASED`: the worker that claimed it leaves it to another message. `UNCONFIRMED`: nobody knows whether it ran.
    """

    PUBLISHED = "published"
    RECEIVED = "received"
    STARTED = "started"
    OBSERVED = "observed"
    RELEASED = "released"
    UNCONFIRMED = "unconfirmed"
    PROGRESS = "progress"
    LINE = "line"
    RETRYING = "retrying"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REVOKED = "revoked"
    EXPIRED = "expired"


# They end an attempt.
OVER = frozenset({Event.RETRYING, Event.SUCCEEDED, Event.FAILED, Event.REVOKED, Event.EXPIRED})
# They change nothing that a list of runs shows.
ONLY_DETAILS = frozenset({Event.RECEIVED, Event.PROGRESS, Event.LINE})


class Entry(NamedTuple):
    """One thing that happened. `attempt` is Celery's count of retries; `text` is the result, the error or the reason.

    For progress, log lines and published messages it is JSON. `entry_id` is its id in the stream, or another one.
    `seconds` is how long the task ran, where it has ended. `received` and `began` are when the worker received the run
    and began this attempt, where the entry stands for those events too. `claim` is JSON of a claim that Redis
    has, for the recorder: `by` is the worker's id, `row` the values of a row that there may not be yet. `also` is a
    command for Redis that belongs to the entry, no part of it.
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
    claim: str = ""
    also: tuple[Any, ...] = ()

    def fields(self) -> dict[str, str]:
        """As Redis keeps it; empty values are left out."""
        given = {
            "run": encodable(self.run_id),
            "event": self.event.value,
            "attempt": str(self.attempt),
            "at": self.at.isoformat(),
            "text": self.text and limited(self.text),
            "traceback": self.traceback and limited(self.traceback),
            "worker": shortened(self.worker, NAME_LENGTH),
            "task": shortened(self.task, NAME_LENGTH),
            "seconds": self.seconds is not None and f"{self.seconds:.6f}",
            "received": self.received and self.received.isoformat(),
            "began": self.began and self.began.isoformat(),
            "claim": self.claim,
        }
        return {name: value for name, value in given.items() if value}

    @classmethod
    def parse(cls, fields: dict[str, str], entry_id: str = "") -> Entry:
        """From Redis. Raises Unrecordable; what only adds to an entry is left out where it cannot be read."""
        seconds = _number(fields.get("seconds"))
        return cls(
            run_id=recordable_id(_field(fields, "run")),
            event=_event(_field(fields, "event")),
            attempt=recordable_integer("attempt", _field(fields, "attempt")),
            at=recordable_moment("at", _field(fields, "at")),
            text=fields.get("text", ""),
            traceback=fields.get("traceback", ""),
            worker=shortened(fields.get("worker", ""), NAME_LENGTH),
            entry_id=entry_id,
            task=shortened(fields.get("task", ""), NAME_LENGTH),
            seconds=seconds if seconds is not None and 0 <= seconds < math.inf else None,
            received=_optional_moment(fields.get("received")),
            began=_optional_moment(fields.get("began")),
            claim=fields.get("claim", ""),
        )


class Unrecordable(ValueError):
    """An entry that cannot be recorded, ever. The text says why."""


def _field(fields: dict[str, str], name: str) -> str:
    try:
        return fields[name]
    except KeyError:
        raise Unrecordable(f"it has no field “{name}”") from None


def _event(text: str) -> Event:
    try:
        return Event(text)
    except ValueError:
        raise Unrecordable(f"“{shortened(text, 40)}” is not an event of a run") from None


def recordable_id(text: str) -> str:
    """The id of a run. Raises Unrecordable for one that the column does not hold."""
    if not 0 < len(encodable(text)) <= ID_LENGTH:
        raise Unrecordable(f"its run id has {len(encodable(text))} characters, not 1 to {ID_LENGTH}")
    return encodable(text)


def recordable_integer(name: str, value: object) -> int:
    """A count, from a text or from JSON. Raises Unrecordable for what the column does not hold."""
    try:
        found = int(value) if isinstance(value, str) else value
    except ValueError:
        found = None
    if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found <= MAX_INTEGER:
        raise Unrecordable(f"its {name} {shortened(repr(value), 40)} is not a whole number from 0 to {MAX_INTEGER}")
    return found


def recordable_moment(name: str, text: object) -> datetime:
    """A moment in UTC from ISO 8601. Raises Unrecordable for what is not one, lacks a zone or cannot be shown."""
    try:
        found = datetime.fromisoformat(str(text))
        if found.tzinfo is not None and (found := found.astimezone(UTC)).year in YEARS:
            return found
    except (ValueError, OverflowError):
        pass
    given = shortened(str(text), 40)
    raise Unrecordable(f"its {name} “{given}” is not a date and time with a zone, from {YEARS[0]} to {YEARS[-1]}")


def _optional_moment(text: str | None) -> datetime | None:
    try:
        return recordable_moment("", text) if text else None
    except Unrecordable:
        return None


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None


def limited(text: str) -> str:
    """The text encodable, and cut with a remark that it was, so that it is within the limit."""
    text = encodable(text)
    if len(text) <= TEXT_LIMIT:
        return text
    remark = f"\n… cut here; {len(text):,} characters in all"
    return text[: TEXT_LIMIT - len(remark)] + remark
