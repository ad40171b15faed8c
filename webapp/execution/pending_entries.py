"""What is told of a run and not recorded yet: the part of the stream that no recorder has acknowledged."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import redis

from webapp.execution.events import GROUP, OVER, STREAM, Entry, Event, Unrecordable

ENDS = OVER - {Event.RETRYING}
# Entries in one answer of Redis.
CHUNK = 1000


def end_of(client: redis.Redis, run_id: str, attempt: int) -> Entry | None:
    """How a run ended, by an entry that no recorder has acknowledged; None when there is none.

    Reads everything since the oldest such entry, so it is for rare questions. Raises redis.RedisError.
    """
    after = _first_unrecorded(client)
    while entries := _read(client, after):
        for entry_id, fields in entries:
            if fields.get("run") == run_id and fields.get("event") in ENDS:
                # What is no entry of ours is the recorder's to set aside.
                with suppress(Unrecordable):
                    entry = Entry.parse(fields, entry_id)
                    if entry.attempt >= attempt:
                        return entry
        after = f"({entries[-1][0]}"
    return None


def _read(client: redis.Redis, after: str) -> list[tuple[str, dict[str, str]]]:
    answer: Any = client.xrange(STREAM, min=after, count=CHUNK)
    return list(answer)


def _first_unrecorded(client: redis.Redis) -> str:
    """Where to begin to read: the oldest entry that was read and not acknowledged, or else what nobody has read."""
    try:
        groups: Any = client.xinfo_groups(STREAM)
        pending: Any = client.xpending(STREAM, GROUP)
    except redis.ResponseError:
        # No stream, or nobody has recorded anything yet.
        return "-"
    read = next((group["last-delivered-id"] for group in groups if group["name"] == GROUP), "0")
    return str(pending["min"]) if pending["pending"] else f"({read}"
