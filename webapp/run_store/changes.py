"""The stream of changes: announces to live pages, after the commit, which runs have changed. Small and capped.

Each process that commits a change of runs appends their ids: the recorder after each batch, pages after an action, the
leading beat after it sent. A page that reads it fetches its partial again and so shows what was committed. Nothing
depends on an announcement: pages also poll, only less often.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass

import redis

logger = logging.getLogger(__name__)

CHANGES = "beatdesk:changes"
# An entry is read within milliseconds; the rest is for a reader that was held up.
LENGTH = 256
# More runs at once are announced as `MANY`.
MAX_IDS = 500
MANY = "*"


@dataclass(frozen=True, slots=True)
class Change:
    """One announcement: runs whose change lists show, and runs that changed only in their details.

    None for "many": any run may be meant.
    """

    runs: frozenset[str] | None = frozenset()
    details: frozenset[str] = frozenset()

    def concerns(self, run_id: str) -> bool:
        """Whether the page of this run may have changed."""
        return self.runs is None or run_id in self.runs or run_id in self.details

    @property
    def concerns_lists(self) -> bool:
        """Whether lists of runs may have changed."""
        return self.runs is None or bool(self.runs)


def fields(run_ids: Collection[str], details: Collection[str] = ()) -> dict[str, str]:
    """One entry of the stream."""
    if len(run_ids) + len(details) > MAX_IDS:
        return {"runs": MANY}
    return {"runs": " ".join(run_ids), "details": " ".join(details)}


def read(entry: dict[str, str]) -> Change:
    """The change that an entry announces; one in another format may mean any run."""
    text = entry.get("runs", MANY)
    return Change(None if text == MANY else frozenset(text.split()), frozenset(entry.get("details", "").split()))


def append(client: redis.Redis, run_ids: Collection[str], details: Collection[str] = ()) -> None:
    """Announce, or add the announcement to a pipeline. Raises redis.RedisError."""
    if run_ids or details:
        client.xadd(CHANGES, dict(fields(run_ids, details)), maxlen=LENGTH, approximate=True)


def announce(client: redis.Redis, run_ids: Collection[str]) -> bool:
    """Announce after a commit; False when Redis is away. Never raises."""
    try:
        append(client, run_ids)
    except (redis.RedisError, OSError) as error:
        logger.info("live pages could not be notified: %s", error)
        return False
    return True
