"""The part of the stream that no recorder has acknowledged: what has happened to a run and is not in its row yet."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import redis

from beatdesk.execution.events import GROUP, OVER, STREAM, Entry, Event, Unrecordable

ENDS = OVER - {Event.RETRYING}
# Entries in one answer of Redis.
CHUNK_LENGTH = 1000


def end_of(client: redis.Redis, run_id: str, attempt: int) -> Entry | None:
    """How a run ended, by an entry that no recorder has acknowledged; None when there is none.

    Reads everything since the oldest such entry, so it is for rare questions. Raises redis.RedisError.
    """
    after = _first_unrecorded(client)
    while entries := _entries_from(client, after):
        for entry_id, fields in entries:
            if fields.get("run") == run_id and fields.get("event") in ENDS:
                # An entry in another format is for the recorder to set aside.
                with suppress(Unrecordable):
                    entry = Entry.parse(fields, entry_id)
                    if entry.attempt >= attempt:
                        return entry
        after = f"({entries[-1][0]}"
    return None


def _entries_from(client: redis.Redis, after: str) -> list[tuple[str, dict[str, str]]]:
    answer: Any = client.xrange(STREAM, min=after, count=CHUNK_LENGTH)
    return list(answer)


def _first_unrecorded(client: redis.Redis) -> str:
    """Where to begin to read: at the oldest entry that was read and not acknowledged, else at the first unread one."""
    try:
        groups: Any = client.xinfo_groups(STREAM)
        pending: Any = client.xpending(STREAM, GROUP)
    except redis.ResponseError:
        # No stream yet, or no recorder has read it.
        return "-"
    read = next((group["last-delivered-id"] for group in groups if group["name"] == GROUP), "0")
    return str(pending["min"]) if pending["pending"] else f"({read}"
