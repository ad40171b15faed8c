"""The recorder: moves state changes from the Redis stream into the database, in batches."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import redis
import sqlalchemy as sa

from beatdesk.execution.events import GROUP, ONLY_DETAILS, STREAM, Entry, Unrecordable
from webapp.database.engine import now
from webapp.liveness import RECORDER_GONE_AFTER, RECORDER_HEARTBEAT, RECORDER_LOST_AFTER
from webapp.messaging import broker, installation
from webapp.messaging.beat_wakeup import wake
from webapp.recorder import counters, recording, rejected
from webapp.recorder.adopted_workers import AdoptedWorkers
from webapp.run_store import changes

logger = logging.getLogger(__name__)

BATCH_SIZE = 500
# How long one read waits for entries, in milliseconds; a stop is noticed as soon.
BLOCK_MS = 500
# Entries that a recorder has read but not acknowledged for this long are claimed by another one.
ABANDONED_AFTER_MS = RECORDER_LOST_AFTER // timedelta(milliseconds=1)
PRESENCE_KEY = "beatdesk:recorder:{name}"
# Seconds before the next try when the database or Redis is away.
RETRY_SECONDS = 1.0


class Recorder:
    """A consumer of the stream's group. Several can run; each entry is applied at least once, and twice is harmless."""

    def __init__(self, engine: sa.Engine, redis_url: str) -> None:
        self.engine = engine
        self._url = redis_url
        self.redis = broker.connect(redis_url, timeout=5.0)
        self.name = f"{socket.gethostname()}:{os.getpid()}"
        self.stopping = threading.Event()
        self._failure: str | None = None
        self._next_takeover = 0.0
        self._next_presence = 0.0
        self._workers = AdoptedWorkers()

    def run(self) -> None:
        """Record until `stop`. The only error that ends it is a Redis that belongs to another installation."""
        while not self.stopping.is_set():
            try:
                self.step()
                self._note_recovery()
            except installation.OtherInstallation as error:
                sys.exit(str(error))
            except Exception as error:  # noqa: BLE001  # entries that cannot be recorded now may be later
                self._note_failure(error)
                self.stopping.wait(RETRY_SECONDS)
        self._remove_presence()

    def stop(self, *_: Any) -> None:
        """Stop after the current batch."""
        self.stopping.set()

    def step(self) -> int:
        """Read, apply, commit, acknowledge; gives the number of entries."""
        self._show_presence()
        try:
            entries = self._claim_abandoned() or self._read_new()
        except redis.ResponseError as error:
            if "NOGROUP" not in str(error):
                raise
            self._make_group()
            return 0
        if entries:
            self._record(entries)
        return len(entries)

    def _read_new(self) -> list[tuple[str, dict[str, str]]]:
        answer: Any = self.redis.xreadgroup(GROUP, self.name, {STREAM: ">"}, count=BATCH_SIZE, block=BLOCK_MS)
        return list(answer[0][1]) if answer else []

    def _make_group(self) -> None:
        try:
            self.redis.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
        except redis.ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise

    def _claim_abandoned(self) -> list[tuple[str, dict[str, str]]]:
        """The entries that a lost recorder had read."""
        if time.monotonic() < self._next_takeover:
            return []
        self._next_takeover = time.monotonic() + RECORDER_LOST_AFTER.total_seconds()
        answer: Any = self.redis.xautoclaim(STREAM, GROUP, self.name, ABANDONED_AFTER_MS, count=BATCH_SIZE)
        if answer[1]:
            self._next_takeover = 0.0
        return [(entry_id, fields) for entry_id, fields in answer[1] if fields]

    def _record(self, entries: list[tuple[str, dict[str, str]]]) -> None:
        parsed: list[Entry] = []
        reasons: dict[str, str] = {}
        for entry_id, fields in entries:
            try:
                parsed.append(Entry.parse(fields, entry_id))
            except Unrecordable as error:
                reasons[entry_id] = str(error)
        recorded = recording.record(self.engine, parsed)
        reasons |= {entry.entry_id: reason for entry, reason in recorded.rejected}
        # After the commit: a recorder that is killed before this line leaves the entries to another one, and notified
        # pages fetch at once. Counters are part of this transaction: an entry that is recorded twice counts once.
        listed = {entry.run_id for entry in recorded.kept if entry.event not in ONLY_DETAILS}
        with self.redis.pipeline(transaction=True) as pipeline:
            counters.add(pipeline, counters.count(recorded.kept))
            changes.append(pipeline, listed, {entry.run_id for entry in recorded.kept} - listed)
            for entry_id, fields in entries:
                if entry_id in reasons:
                    logger.warning("entry %s cannot be recorded and is set aside: %s", entry_id, reasons[entry_id])
                    rejected.append(pipeline, entry_id, fields, reasons[entry_id])
            pipeline.xack(STREAM, GROUP, *(entry_id for entry_id, _ in entries))
            try:
                pipeline.execute()
            except redis.ResponseError as error:
                # For example because another program has overwritten a counter; the other commands are executed. If
                # none was, the entries are not acknowledged and come again.
                logger.warning("Redis refused a command: %s", error)
        if recorded.paused:
            wake(self.redis, "a schedule was paused for its failures")

    def _show_presence(self) -> None:
        if time.monotonic() >= self._next_presence:
            installation.mark(self.redis, self._url)
            self._workers.keep(self.engine, self.redis)
            self.redis.set(PRESENCE_KEY.format(name=self.name), "1", ex=RECORDER_GONE_AFTER)
            self._next_presence = time.monotonic() + RECORDER_HEARTBEAT

    def _note_failure(self, error: Exception) -> None:
        if self._failure is None:
            known = isinstance(error, (redis.RedisError, sa.exc.SQLAlchemyError, OSError))
            logger.error("waiting: %s", error, exc_info=None if known else error)
        self._failure = str(error)

    def _note_recovery(self) -> None:
        if self._failure is not None:
            logger.info("recording again")
        self._failure = None

    def _remove_presence(self) -> None:
        try:
            self.redis.delete(PRESENCE_KEY.format(name=self.name))
        except (redis.RedisError, OSError) as error:
            logger.info("its presence expires by itself, Redis does not answer: %s", error)


def present(client: redis.Redis) -> list[str]:
    """The recorders with a recent heartbeat. Raises redis.RedisError."""
    prefix = PRESENCE_KEY.format(name="")
    return sorted(key.removeprefix(prefix) for key in client.scan_iter(f"{prefix}*", count=1000))


def last_seen(client: Any) -> datetime | None:
    """When a recorder last read the stream, to the second; None if none ever did. Raises redis.RedisError."""
    if not client.exists(STREAM):
        return None
    groups = [group for group in client.xinfo_groups(STREAM) if group["name"] == GROUP]
    idle = [consumer["idle"] for consumer in client.xinfo_consumers(STREAM, GROUP)] if groups else []
    return (now() - timedelta(milliseconds=min(idle))).replace(microsecond=0) if idle else None


@dataclass(frozen=True, slots=True)
class Lag:
    """The backlog of the stream: the number of entries that are not recorded yet, and the age of the oldest."""

    entries: int
    seconds: float


def lag(client: Any) -> Lag:
    """The backlog of the recorders. Raises redis.RedisError."""
    groups = [group for group in client.xinfo_groups(STREAM) if group["name"] == GROUP] if client.exists(STREAM) else []
    if groups:
        group = groups[0]
        # The lag is None where entries were deleted in between.
        behind = int(group["pending"]) + int(group["lag"] or 0)
        pending = client.xpending(STREAM, GROUP)["min"]
        unread = client.xrange(STREAM, min=f"({group['last-delivered-id']}", count=1)
    else:
        behind, pending, unread = int(client.xlen(STREAM)), None, client.xrange(STREAM, count=1)
    oldest = pending or (unread[0][0] if unread else None)
    if oldest is None:
        return Lag(behind, 0.0)
    seconds, micros = client.time()
    waited = seconds + micros / 1e6 - int(str(oldest).partition("-")[0]) / 1000
    return Lag(max(behind, 1), max(waited, 0.0))


def run_until_signal(engine: sa.Engine, redis_url: str) -> None:
    """Record until SIGTERM or SIGINT."""
    recorder = Recorder(engine, redis_url)
    signal.signal(signal.SIGTERM, recorder.stop)
    signal.signal(signal.SIGINT, recorder.stop)
    recorder.run()
