"""When each message arrived: the queue's length is watched, and its messages are read afterwards.

A message is a list's element, so the n-th message was there as soon as the list was n long. Asking for the length costs
the measured machine little, and nothing is taken from the queue.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from bisect import bisect_left
from collections.abc import Callable
from typing import Any, NamedTuple

import redis

from bench.beats.plan import QUEUE
from bench.beats.processes import TrialError

POLL_SECONDS = 0.001


class Arrival(NamedTuple):
    """A message: whose it is, its task id, and when it was in the queue (epoch seconds)."""

    name: str
    id: str
    at: float


class Watch:
    """Watches one queue from a thread, from `with` on. It keeps polling a server that is away."""

    def __init__(self, client: redis.Redis, queue: str = QUEUE) -> None:
        self._client = client
        self._queue = queue
        self._lengths: list[int] = []
        self._times: list[float] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"watch-{queue}", daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    @property
    def length(self) -> int:
        """How many messages have arrived."""
        return self._lengths[-1] if self._lengths else 0

    def wait_for(self, length: int, until: float, alive: Callable[[], bool] = lambda: True) -> bool:
        """Wait for so many messages, at most until a moment (epoch seconds), and only while `alive` says so."""
        while self.length < length:
            if time.time() > until or not alive():
                return False
            time.sleep(0.02)
        return True

    def require(self, length: int, until: float) -> None:
        """Wait for so many messages. Raises TrialError when they have not arrived by a moment (epoch seconds)."""
        if not self.wait_for(length, until):
            raise TrialError(f"the queue {self._queue} has {self.length} messages instead of {length}")

    def wait_for_silence(self, seconds: float = 0.3) -> None:
        """Wait until nothing has arrived for a while."""
        while self._times and time.time() - self._times[-1] < seconds:
            time.sleep(0.02)

    def at(self, number: int) -> float:
        """When the message of that number, counted from 1, was there (epoch seconds)."""
        return self._times[bisect_left(self._lengths, number)]

    def arrivals(self) -> list[Arrival]:
        """Every message so far, in order of arrival."""
        length = self.length
        messages: list[tuple[str, str]] = []
        for begin in range(0, length, 1000):
            # Producers push to the left: the oldest message is the last element.
            chunk: Any = self._client.lrange(self._queue, -begin - 1000, -begin - 1)
            messages += [read(message) for message in reversed(chunk)]
        return [Arrival(name, key, self.at(number)) for number, (name, key) in enumerate(messages[:length], 1)]

    def _run(self) -> None:
        last = 0
        while not self._stopping.wait(POLL_SECONDS):
            try:
                length: Any = self._client.llen(self._queue)
            except redis.RedisError:
                continue
            if length > last:
                self._times.append(time.time())
                self._lengths.append(length)
                last = length


def read(message: bytes) -> tuple[str, str]:
    """The schedule's name, which is the task's first argument, and the task id, of a message as Celery writes it."""
    envelope = json.loads(message)
    body = json.loads(base64.b64decode(envelope["body"]))
    return str(body[0][0]), str(envelope["headers"]["id"])
