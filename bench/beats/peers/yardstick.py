"""sqlalchemy-celery-beat without its two costliest habits: the yardstick for "faster than upstream".

Its tick does not compare all entries each time, and it asks the database for changes once a second instead of at every
tick. Nothing else is changed.
"""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy_celery_beat.schedulers import DatabaseScheduler

from bench.beats.peers import sacb
from bench.beats.peers.common import Peer, by_schedule, in_process

POLL_SECONDS = 1.0
SCHEDULER = "bench.beats.peers.yardstick:Yardstick"

app = sacb.app


class Yardstick(DatabaseScheduler):
    """The library's scheduler with a cheap tick."""

    _heap_invalidated: bool
    _polled_at = float("-inf")

    def schedules_equal(self, *_: Any, **__: Any) -> bool:
        """Whether nothing was loaded anew: known, without looking at the entries."""
        changed, self._heap_invalidated = self._heap_invalidated, False
        return not changed

    def schedule_changed(self) -> bool:
        """Ask once a second."""
        if time.monotonic() - self._polled_at < POLL_SECONDS:
            return False
        self._polled_at = time.monotonic()
        return bool(super().schedule_changed())


peer = Peer(
    start=lambda: in_process(app, SCHEDULER),
    fill=sacb.fill,
    edit=sacb.edit,
    applied=by_schedule,
    statements=sacb.statements,
)
