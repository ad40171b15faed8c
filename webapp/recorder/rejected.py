"""Entries of the stream that cannot be recorded, set aside with the reason: a capped Redis stream beside it.

Not a table: what no column can hold is kept as it came, and is set aside in the transaction that acknowledges it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import redis

from webapp.encoding import decode_json, shortened
from webapp.run_store.events import ID_LENGTH
from webapp.secrecy.masking import masked

REJECTED = "beatdesk:rejected"
# The newest are kept; of each, so much of every field.
MAX_REJECTED = 1_000
MAX_FIELDS = 20
SHOWN = 100
MAX_FIELD_LENGTH = 1_000


@dataclass(frozen=True, slots=True)
class Rejected:
    """An entry, when it was set aside and why. `fields` are what it said, each cut to `MAX_FIELD_LENGTH`."""

    at: datetime
    entry_id: str
    reason: str
    fields: Mapping[str, str]

    @property
    def run_id(self) -> str:
        """The run that it was about; "" where it names none that there can be."""
        run_id = self.fields.get("run", "")
        return run_id if len(run_id) <= ID_LENGTH else ""

    @property
    def content(self) -> str:
        """What it said, a field on each line, secrets masked."""
        return "\n".join(f"{name}: {masked(value)}" for name, value in self.fields.items())


def append(pipeline: Any, entry_id: str, fields: Mapping[str, str], reason: str) -> None:
    """Set an entry aside, in a transaction of the caller's."""
    some = list(fields.items())[:MAX_FIELDS]
    kept = {shortened(name, 40): shortened(value, MAX_FIELD_LENGTH) for name, value in some}
    given = {"entry": entry_id, "reason": reason, "fields": json.dumps(kept)}
    pipeline.xadd(REJECTED, given, maxlen=MAX_REJECTED, approximate=False)


def newest(client: redis.Redis, count: int) -> list[Rejected]:
    """The ones set aside last, the newest first. Raises redis.RedisError."""
    answer: Any = client.xrevrange(REJECTED, count=count)
    return [_parse(place, given) for place, given in answer]


def latest_since(client: redis.Redis, age: timedelta) -> Rejected | None:
    """The one set aside last, unless that is longer ago. Raises redis.RedisError."""
    for found in newest(client, 1):
        seconds, micros = client.time()
        if datetime.fromtimestamp(seconds + micros / 1e6, UTC) - found.at < age:
            return found
    return None


def counted(client: redis.Redis) -> int:
    """How many were ever set aside. Raises redis.RedisError."""
    if not client.exists(REJECTED):
        return 0
    return int(client.xinfo_stream(REJECTED)["entries-added"])


def _parse(place: str, given: Mapping[str, str]) -> Rejected:
    at = datetime.fromtimestamp(int(place.partition("-")[0]) / 1000, UTC)
    try:
        fields = decode_json(given["fields"])
    except (KeyError, ValueError):
        fields = None
    named = {str(name): str(value) for name, value in fields.items()} if isinstance(fields, dict) else {}
    return Rejected(at, given.get("entry", place), given.get("reason", "unknown"), named)
