"""A wait that ends early when a change is announced.

A thread listens on Redis, so that a Redis that is slow or away never holds up the scheduler; without Redis the wait
just takes its time, and changes are found by looking.
"""

from __future__ import annotations

import threading
from contextlib import suppress

import redis
from celery.utils.log import get_logger

from webapp.messaging import installation
from webapp.messaging.beat_wakeup import CHANNEL, wake
from webapp.messaging.installation import OtherInstallation

logger = get_logger(__name__)

RECONNECT_SECONDS = 0.5
REDIS_TIMEOUT = 2.0


class Listener:
    """Listens from the first `wait` on."""

    def __init__(self, url: str | None) -> None:
        self._url = url
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self.connected = threading.Event()

    def wait(self, seconds: float) -> bool:
        """Wait, at most so long. Gives whether a change was announced. Signals interrupt it."""
        self.start()
        woken = self._woken.wait(seconds)
        self._woken.clear()
        return woken

    def start(self) -> None:
        """Begin to listen, if that was not done yet."""
        if self._thread is None and self._url:
            self._thread = threading.Thread(target=self._run, name="beat-listener", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Stop listening. The thread ends within its time-out; nothing waits for it."""
        self._stopping.set()

    def announce(self, text: str) -> None:
        """Wake the other beats. When Redis is away they find changes by looking, twice a second."""
        if self._url:
            client = self._client()
            with suppress(redis.RedisError, OSError):
                wake(client, text)
            client.close()

    def _run(self) -> None:
        away = False
        while not self._stopping.is_set():
            try:
                self._listen()
            except (redis.RedisError, OSError) as error:
                self.connected.clear()
                # Of one that is another installation's, what ends this process says so.
                if not away and not isinstance(error, OtherInstallation):
                    logger.warning("Redis is away: %s. Changes are found by looking, twice a second.", error)
                away = True
                self._stopping.wait(RECONNECT_SECONDS)
            else:
                return
            if away and self._answers():
                logger.warning("Redis is back.")
                away = False

    def _answers(self) -> bool:
        client = self._client()
        try:
            return bool(client.ping())
        except (redis.RedisError, OSError):
            return False
        finally:
            client.close()

    def _client(self) -> redis.Redis:
        if self._url is None:
            raise ValueError("there is no Redis to listen to")
        return redis.Redis.from_url(
            self._url,
            socket_connect_timeout=REDIS_TIMEOUT,
            socket_timeout=REDIS_TIMEOUT,
            socket_keepalive=True,
            redis_connect_func=installation.on_connect,
        )

    def _listen(self) -> None:
        client = self._client()
        pubsub = client.pubsub(ignore_subscribe_messages=False)
        try:
            pubsub.subscribe(CHANNEL)
            while not self._stopping.is_set():
                message = pubsub.get_message(timeout=REDIS_TIMEOUT)
                if message is None:
                    # Distinguishes a dead connection from a quiet one.
                    pubsub.ping()
                elif message["type"] == "subscribe":
                    self.connected.set()
                    # Something may have been announced before.
                    self._woken.set()
                elif message["type"] == "message":
                    self._woken.set()
        finally:
            with suppress(redis.RedisError, OSError):
                pubsub.close()
            client.close()
