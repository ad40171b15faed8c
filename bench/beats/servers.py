"""A database for each trial."""

from __future__ import annotations

import threading
import uuid

import psycopg

from tests.servers import Databases, in_database


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
        """Force a checkpoint after filling, so that none happens during a measurement."""
        with psycopg.connect(self._databases.postgres_url(), autocommit=True) as connection:
            connection.execute("CHECKPOINT")
