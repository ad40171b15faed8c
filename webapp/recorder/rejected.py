"""Entries of the stream that cannot be recorded, kept with the reason in a capped Redis stream.

Not in a table: a stream keeps values that no column can hold, in the transaction that acknowledges the entry.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import redis

from beatdesk.encoding import decode_json, shortened
from beatdesk.execution.events import ID_LENGTH
from beatdesk.secrecy.masking import masked

REJECTED = "beatdesk:rejected"
# How many of the newest entries are kept, and how much of each.
MAX_REJECTED = 1_000
MAX_FIELDS = 20
SHOWN = 100
MAX_FIELD_LENGTH = 1_000


@dataclass(frozen=True, slots=True)
class Rejected:
    """A rejected entry, with moment and reason. Its `fields` are cut to `MAX_FIELD_LENGTH` characters each."""

    at: datetime
    entry_id: str
    reason: str
    fields: Mapping[str, str]

    @property
    def run_id(self) -> str:
        """The run that it names; "" if it names none, or one that cannot exist."""
        run_id = self.fields.get("run", "")
        return run_id if len(run_id) <= ID_LENGTH else ""

    @property
    def content(self) -> str:
        """Its fields, one on each line, secrets masked."""
        return "\n".join(f"{name}: {masked(value)}" for name, value in self.fields.items())


def append(pipeline: Any, entry_id: str, fields: Mapping[str, str], reason: str) -> None:
    """Add an entry, in a transaction of the caller's."""
    some = list(fields.items())[:MAX_FIELDS]
    kept = {shortened(name, 40): shortened(value, MAX_FIELD_LENGTH) for name, value in some}
    given = {"entry": entry_id, "reason": reason, "fields": json.dumps(kept)}
    pipeline.xadd(REJECTED, given, maxlen=MAX_REJECTED, approximate=False)


def newest(client: redis.Redis, count: int) -> list[Rejected]:
    """The last rejected entries, newest first. Raises redis.RedisError."""
    answer: Any = client.xrevrange(REJECTED, count=count)
    return [_parse(entry_id, given) for entry_id, given in answer]


def latest_since(client: redis.Redis, age: timedelta) -> Rejected | None:
    """The last rejected entry, if it is no older than `age`. Raises redis.RedisError."""
    for found in newest(client, 1):
        seconds, micros = client.time()
        if datetime.fromtimestamp(seconds + micros / 1e6, UTC) - found.at < age:
            return found
    return None


def counted(client: redis.Redis) -> int:
    """How many entries were ever rejected. Raises redis.RedisError."""
    if not client.exists(REJECTED):
        return 0
    return int(client.xinfo_stream(REJECTED)["entries-added"])


def _parse(entry_id: str, given: Mapping[str, str]) -> Rejected:
    at = datetime.fromtimestamp(int(entry_id.partition("-")[0]) / 1000, UTC)
    try:
        fields = decode_json(given["fields"])
    except (KeyError, ValueError):
        fields = None
    named = {str(name): str(value) for name, value in fields.items()} if isinstance(fields, dict) else {}
    return Rejected(at, given.get("entry", entry_id), given.get("reason", "unknown"), named)
