"""Announces to live pages which runs beat has made or sent. Without Redis the pages find changes by polling."""

from __future__ import annotations

import time
from collections.abc import Sequence

import redis

from webapp.messaging import installation
from webapp.run_store import changes

REDIS_TIMEOUT = 0.5
# Seconds without another attempt after a failed one: runs must not wait for it.
REST_SECONDS = 5.0


class Announcer:
    """Belongs to one thread."""

    def __init__(self, redis_url: str | None) -> None:
        self._client = (
            redis.Redis.from_url(
                redis_url,
                socket_connect_timeout=REDIS_TIMEOUT,
                socket_timeout=REDIS_TIMEOUT,
                redis_connect_func=installation.on_connect,
            )
            if redis_url
            else None
        )
        self._url = redis_url or ""
        self._rest_until = 0.0

    def mark(self) -> None:
        """Check that Redis still belongs to this installation. Never raises."""
        if self._client is not None and time.monotonic() >= self._rest_until:
            try:
                installation.mark(self._client, self._url)
            except (redis.RedisError, OSError):
                self._rest_until = time.monotonic() + REST_SECONDS

    def announce(self, run_ids: Sequence[str]) -> None:
        """Announce what was committed. Never raises."""
        if self._client is None or time.monotonic() < self._rest_until:
            return
        if not changes.announce(self._client, run_ids):
            self._rest_until = time.monotonic() + REST_SECONDS
