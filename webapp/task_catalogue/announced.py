"""Tasks of other projects, known by their names: a table, and what this process last read of it.

Their workers are asked for the tasks that they have registered (see `scheduler.foreign`). What such a task takes, and
what of it is secret, is not known.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from webapp.database import dialects
from webapp.database.engine import Base, UtcDateTime

logger = logging.getLogger(__name__)

# Seconds for which a process goes by what it has read.
READ_EVERY = 5.0
# A task is forgotten when no worker has named it for so long.
REMEMBERED = timedelta(days=30)
MAX_TASKS = 20_000


class AnnouncedTask(Base):
    """A task that a worker of another project has registered."""

    __tablename__ = "announced_tasks"

    name: Mapped[str] = mapped_column(sa.String(255), primary_key=True)
    node: Mapped[str] = mapped_column(sa.String(255), primary_key=True, comment="Celery's node name")
    queue: Mapped[str | None] = mapped_column(sa.String(255), comment="Which of the queues that it consumes is used")
    seen_at: Mapped[datetime] = mapped_column(UtcDateTime, comment="When the worker named it last")


class Announced(NamedTuple):
    """A task by its name: the workers that have it, and the queue that it is sent to where nothing names another."""

    name: str
    nodes: tuple[str, ...]
    queue: str | None


def keep(
    connection: sa.Connection, tasks: Mapping[str, Iterable[str]], queues: Mapping[str, str | None], now: datetime
) -> set[str]:
    """Keep which tasks each worker has, by node name. Gives the names that were not known. Commits nothing itself."""
    known = set(connection.execute(sa.select(AnnouncedTask.name).distinct()).scalars())
    rows = [
        {"name": name, "node": node, "queue": queues.get(node), "seen_at": now}
        for node, names in tasks.items()
        for name in sorted(set(names))
    ]
    if rows:
        insert = dialects.insert(connection, AnnouncedTask)
        fresh = {name: insert.excluded[name] for name in ("queue", "seen_at")}
        connection.execute(insert.on_conflict_do_update(index_elements=("name", "node"), set_=fresh), rows)
    connection.execute(sa.delete(AnnouncedTask).where(AnnouncedTask.seen_at < now - REMEMBERED))
    return {name for names in tasks.values() for name in names} - known


def load(connection: sa.Connection) -> dict[str, Announced]:
    """All of them by name; the queue is that of the worker that named the task last."""
    columns = (AnnouncedTask.name, AnnouncedTask.node, AnnouncedTask.queue)
    query = sa.select(*columns).order_by(AnnouncedTask.seen_at, AnnouncedTask.node).limit(MAX_TASKS)
    found: dict[str, Announced] = {}
    for name, node, queue in connection.execute(query):
        nodes = found[name].nodes if name in found else ()
        found[name] = Announced(name, (*nodes, node), queue)
    return found


class AnnouncedTasks:
    """What this process knows of the table; `connect` gives a connection for reading. The last reading counts on.

    A database that is away, or has no such table yet, changes nothing.
    """

    def __init__(self, connect: Callable[[], AbstractContextManager[sa.Connection]]) -> None:
        self._connect = connect
        self._known: Mapping[str, Announced] = {}
        self._until = float("-inf")

    def current(self) -> Mapping[str, Announced]:
        """By name."""
        if time.monotonic() >= self._until:
            self._until = time.monotonic() + READ_EVERY
            try:
                with self._connect() as connection:
                    self._known = load(connection)
            except sa.exc.SQLAlchemyError as error:
                logger.info("tasks of other projects cannot be read: %s", type(error).__name__)
        return self._known

    def forget(self) -> None:
        """Read the table again the next time."""
        self._until = float("-inf")
