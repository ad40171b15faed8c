"""The hub: the open streams of this process, and the one reader of Redis that feeds them all.

The reader, a thread or under gevent a greenlet, runs while a stream is open:

1. Find the end of the stream of changes; send `live` to all streams, and `news` for changes that may have been missed.
2. Wait for changes, half a second at most, and mark the streams that they concern.
3. Once a second, drop the streams whose browser has left; every 10 s, end those whose sign-in has ended.
4. If Redis does not answer, send `away` to all streams, and start again at 1 when it is back.

A browser that reconnects names the last event that it received. Changes since then are looked up in the history; if
that does not reach back so far, the browser gets `news` in any case.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections import deque
from typing import Any

import redis
import sqlalchemy as sa
from flask import Flask

from webapp.accounts import sessions
from webapp.database.engine import read_only
from webapp.live import connections, slots
from webapp.live.pace import STAGGER_SECONDS, interval_for
from webapp.live.stream import Stream, StreamState
from webapp.messaging import broker
from webapp.run_store.changes import CHANGES, Change, read
from webapp.web.access import Permission

logger = logging.getLogger(__name__)

# The topic of lists of runs, which any change concerns. Every other topic is the id of a run.
EVERY_RUN = "*"
BLOCK_MS = 500
REDIS_TIMEOUT = 2.0
# How many changes are kept for browsers that reconnect.
HISTORY_LENGTH = 1_000
CLEANUP_SECONDS = 1.0
SIGN_IN_CHECK_SECONDS = 10.0


_ENTRY_ID = re.compile(r"([0-9]{1,20})-([0-9]{1,20})")


class TooManyStreams(Exception):
    """The person has the maximum number of streams open."""


class Hub:
    """The open streams and their reader, one in each process."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._url = app.extensions["settings"].redis_url
        self._slots_client = broker.connect(self._url)
        self._lock = threading.RLock()
        self._streams: dict[str, dict[str, Stream]] = {}
        self._latest: deque[tuple[tuple[int, int], Change]] = deque(maxlen=HISTORY_LENGTH)
        # `_latest` has every change after the first of these positions, up to the second.
        self._known_from = ""
        self._position = ""
        self._state: StreamState | None = None
        self._reader: threading.Thread | None = None
        self._next_clean_up = self._next_check = self._next_renewal = 0.0

    @property
    def streams(self) -> list[Stream]:
        """The open streams."""
        with self._lock:
            return [stream for streams in self._streams.values() for stream in streams.values()]

    def open(self, topic: str, person: int, sign_in: str, connection: Any, since: str) -> Stream:
        """Open a stream of a topic, from the event `since` on; `leave` closes it. Raises TooManyStreams."""
        stream = Stream(topic, person, sign_in, connection, lambda: self._position)
        if not self._acquire_slot(stream):
            raise TooManyStreams
        with self._lock:
            watchers = self._streams.setdefault(topic, {})
            watchers[stream.id] = stream
            if self._state is not None:
                stream.set_state(self._state)
                if self._state is StreamState.LIVE and self._has_missed_changes(topic, since):
                    stream.mark(time.monotonic(), interval_for(len(watchers)))
            if self._reader is None:
                self._reader = threading.Thread(target=self._run, name="live-reader", daemon=True)
                self._reader.start()
        return stream

    def leave(self, stream: Stream) -> None:
        """Close a stream and release its slot."""
        stream.close()
        with self._lock:
            watchers = self._streams.get(stream.topic, {})
            known = watchers.pop(stream.id, None) is not None
            if not watchers:
                self._streams.pop(stream.topic, None)
        if known and self._state is not StreamState.AWAY:
            try:
                slots.release(self._slots_client, stream)
            except (redis.RedisError, OSError) as error:
                logger.info("the slot of a stream is released in a minute: %s", error)

    def _acquire_slot(self, stream: Stream) -> bool:
        mine = sum(other.person == stream.person for other in self.streams)
        if mine >= slots.STREAMS_PER_PERSON:
            return False
        if self._state is StreamState.AWAY:
            return True
        try:
            return slots.acquire(self._slots_client, stream)
        except (redis.RedisError, OSError):
            # Each process counts on its own until Redis is back.
            return True

    def _has_missed_changes(self, topic: str, since: str) -> bool:
        """Whether the topic may have changed after the event `since`."""
        position, known = _parse_entry_id(since), _parse_entry_id(self._known_from)
        if position is None or known is None or position < known:
            return True
        return any(at > position and _concerns(change, topic) for at, change in self._latest)

    def _run(self) -> None:
        # This thread only reads; on SQLite it must not wait for the write lock.
        read_only.set(True)
        try:
            # The one connection on which this process waits for changes.
            with broker.connect(self._url, timeout=REDIS_TIMEOUT) as client:
                while self._has_streams():
                    self._follow(client)
                    self._clean_up()
        except Exception:
            # The browsers reconnect, and the first of them starts another reader.
            logger.exception("the reader of changes has failed")
            self._give_up()

    def _has_streams(self) -> bool:
        with self._lock:
            if not self._streams:
                self._reader = self._state = None
                return False
            return True

    def _give_up(self) -> None:
        with self._lock:
            self._reader = self._state = None
            for stream in self.streams:
                stream.close()

    def _follow(self, client: redis.Redis) -> None:
        """Wait for changes once, and handle them."""
        try:
            if self._state is not StreamState.LIVE:
                self._begin(client)
            answer: Any = client.xread({CHANGES: self._position}, count=HISTORY_LENGTH, block=BLOCK_MS)
        except (redis.RedisError, OSError) as error:
            self._start_polling(error)
            return
        for entry_id, fields in answer[0][1] if answer else []:
            self._handle(entry_id, read(fields))

    def _begin(self, client: redis.Redis) -> None:
        """Start at the end of the stream: pages that fetch now see all changes before it."""
        newest: Any = client.xrevrange(CHANGES, count=1)
        if self._state is StreamState.AWAY:
            logger.warning("Redis answers again, pages are live")
        with self._lock:
            self._position = self._known_from = newest[0][0] if newest else "0-0"
            self._latest.clear()
            self._state = StreamState.LIVE
            for stream in self.streams:
                stream.set_state(StreamState.LIVE)
            for topic in self._streams:
                self._mark(topic)

    def _start_polling(self, error: Exception) -> None:
        with self._lock:
            if self._state is not StreamState.AWAY:
                logger.warning("Redis does not answer, pages poll: %s", error)
            self._state = StreamState.AWAY
            for stream in self.streams:
                stream.set_state(StreamState.AWAY)
        time.sleep(BLOCK_MS / 1000)

    def _handle(self, entry_id: str, change: Change) -> None:
        with self._lock:
            position = _parse_entry_id(entry_id)
            if position is not None:
                if len(self._latest) == HISTORY_LENGTH:
                    self._known_from = "{}-{}".format(*self._latest[0][0])
                self._latest.append((position, change))
            for topic in self._streams:
                if _concerns(change, topic):
                    self._mark(topic)
            # Last, so that a stream that reads this position has been marked for all changes up to it.
            self._position = entry_id

    def _mark(self, topic: str) -> None:
        watchers = self._streams.get(topic, {})
        now, interval = time.monotonic(), interval_for(len(watchers))
        for count, stream in enumerate(watchers.values()):
            stream.mark(now + count * STAGGER_SECONDS, interval)

    def _clean_up(self) -> None:
        now = time.monotonic()
        if now < self._next_clean_up:
            return
        self._next_clean_up = now + CLEANUP_SECONDS
        for stream in connections.disconnected(self.streams):
            self.leave(stream)
        if now >= self._next_check:
            self._next_check = now + SIGN_IN_CHECK_SECONDS
            self._end_signed_out()
        if now >= self._next_renewal and self._state is StreamState.LIVE:
            self._next_renewal = now + slots.RENEWAL_SECONDS
            try:
                slots.renew(self._slots_client, self.streams)
            except (redis.RedisError, OSError) as error:
                logger.info("slots of streams are not renewed, Redis does not answer: %s", error)

    def _end_signed_out(self) -> None:
        streams = self.streams
        try:
            with self._app.app_context():
                allowed = sessions.still_allowed({stream.sign_in for stream in streams}, Permission.VIEW_RUNS)
        except sa.exc.SQLAlchemyError as error:
            # Streams stay open: they carry no data, and each fetch of a page checks access.
            logger.warning("sign-ins cannot be checked, the database does not answer: %s", error.__class__.__name__)
            return
        for stream in streams:
            if stream.sign_in not in allowed:
                stream.set_state(StreamState.ENDED)


def _concerns(change: Change, topic: str) -> bool:
    return change.concerns_lists if topic == EVERY_RUN else change.concerns(topic)


def _parse_entry_id(entry_id: str) -> tuple[int, int] | None:
    """The two numbers of an entry's id, by which Redis orders entries; None for other text."""
    match = _ENTRY_ID.fullmatch(entry_id)
    return (int(match[1]), int(match[2])) if match else None
