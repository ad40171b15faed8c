"""This beat's row in `beats`: that it is there, whether it leads, and which revision it has in force."""

from __future__ import annotations

import os
import socket
import uuid

import sqlalchemy as sa

from webapp.database.engine import now_sql
from webapp.liveness import FORGOTTEN_AFTER


class Presence:
    """Writes the row. All moments are the database's."""

    def __init__(self) -> None:
        self.id = uuid.uuid4().hex
        self.host = socket.gethostname()
        self._pid = os.getpid()

    def announce(self, connection: sa.Connection) -> None:
        """Write the row for the first time."""
        now = now_sql(connection)
        statement = sa.text(
            'INSERT INTO beats (id, host, pid, "leading", revision, schedules, started_at, seen_at) '  # noqa: S608 - constants
            f"VALUES (:id, :host, :pid, false, 0, 0, {now}, {now})"
        )
        connection.execute(statement, {"id": self.id, "host": self.host, "pid": self._pid})

    def seen(self, connection: sa.Connection, leading: bool) -> bool:
        """Record a heartbeat. False when the row is gone."""
        statement = sa.text(f'UPDATE beats SET seen_at = {now_sql(connection)}, "leading" = :leading WHERE id = :id')  # noqa: S608
        return connection.execute(statement, {"id": self.id, "leading": leading}).rowcount == 1

    def applied(self, connection: sa.Connection, revision: int, schedules: int) -> None:
        """Acknowledge that everything up to a revision is in force here."""
        now = now_sql(connection)
        statement = sa.text(
            f"UPDATE beats SET revision = :revision, applied_at = {now}, schedules = :schedules, seen_at = {now} "  # noqa: S608
            "WHERE id = :id"
        )
        connection.execute(statement, {"id": self.id, "revision": revision, "schedules": schedules})

    def leave(self, connection: sa.Connection) -> None:
        """Remove the row, at a graceful stop."""
        connection.execute(sa.text("DELETE FROM beats WHERE id = :id"), {"id": self.id})

    def forget_others(self, connection: sa.Connection) -> None:
        """Remove the rows of beats that were killed long ago."""
        connection.execute(sa.text(f"DELETE FROM beats WHERE seen_at < {now_sql(connection, -FORGOTTEN_AFTER)}"))  # noqa: S608
