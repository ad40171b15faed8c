"""One PostgreSQL database for many tests, put back as it was made before each: making one anew costs far more."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import LiteralString

import psycopg
from psycopg import sql

# What else is connected was left by a test that is over; what it holds would block the next one for ever.
ALONE = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


@dataclass
class Reused:
    """A migrated PostgreSQL database, and what each of its tables and sequences held when it was new."""

    url: str
    _rows: dict[str, bytes] = field(default_factory=dict)
    _sequences: dict[str, tuple[int, bool]] = field(default_factory=dict)
    _indexes: set[str] = field(default_factory=set)

    def remember(self) -> None:
        """Keep what is in it now. Raises psycopg.Error when it cannot be read."""
        with self._connected() as connection:
            tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
            for (name,) in tables.fetchall():
                with connection.cursor().copy(_on("COPY {} TO STDOUT", name)) as rows:
                    self._rows[name] = b"".join(rows)
            for (name,) in connection.execute("SELECT sequencename FROM pg_sequences").fetchall():
                last, called = connection.execute(_on("SELECT last_value, is_called FROM {}", name)).fetchall()[0]
                self._sequences[name] = (last, called)
            self._indexes = _indexes(connection)

    def put_back(self) -> None:
        """Give every table and sequence what it held when remembered, and drop indexes that were added since.

        Raises psycopg.Error when a table is gone.
        """
        with self._connected() as connection:
            connection.execute(ALONE)
            for name in _indexes(connection) - self._indexes:
                connection.execute(_on("DROP INDEX {}", name))
            # Neither triggers nor foreign keys: the rows that come back obeyed both.
            connection.execute("SET session_replication_role = replica")
            connection.execute(sql.SQL("; ").join(_on("DELETE FROM {}", table) for table in self._rows))
            for table, rows in self._rows.items():
                if rows:
                    with connection.cursor().copy(_on("COPY {} FROM STDIN", table)) as copy:
                        copy.write(rows)
            calls = (
                sql.SQL("setval({}::regclass, {}, {})").format(sql.Literal(f'"{name}"'), last, called)
                for name, (last, called) in self._sequences.items()
            )
            connection.execute(sql.SQL("SELECT ") + sql.SQL(", ").join(calls))

    def _connected(self) -> psycopg.Connection:
        return psycopg.connect(self.url.replace("postgresql+psycopg://", "postgresql://"))


def _indexes(connection: psycopg.Connection) -> set[str]:
    found = connection.execute("SELECT indexname FROM pg_indexes WHERE schemaname = 'public'")
    return {name for (name,) in found.fetchall()}


def _on(statement: LiteralString, name: str) -> sql.Composed:
    return sql.SQL(statement).format(sql.Identifier(name))
