"""Tasks of other projects: a table, and what this process last read of it.

A worker that announces its tasks says what they take (`beatdesk.announcing`); so does `celery -A proj beatdesk`. Other
workers are asked for the names of the tasks that they have registered (see `scheduler.foreign`).
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from webapp.database import dialects
from webapp.database.engine import Base, UtcDateTime
from webapp.task_catalogue.known_task import KnownTask, by_name, from_description

logger = logging.getLogger(__name__)

# Seconds for which a process goes by what it has read.
READ_EVERY = 5.0
# A task is forgotten when no worker has named it for so long.
REMEMBERED = timedelta(days=30)
# The same for what its app does not announce any more, and for a name that another worker has too; the workers that
# still have it may be on their way out.
REPLACED_AFTER = timedelta(days=1)
# The rows of living workers are renewed when they are older.
RENEWED_AFTER = timedelta(hours=1)
# Each a task of one worker; of more rows a process reads the latest.
MAX_ROWS = 20_000


class AnnouncedTask(Base):
    """A task that a worker has announced or registered; `node` is the app's name where no worker announced it."""

    __tablename__ = "announced_tasks"

    name: Mapped[str] = mapped_column(sa.String(255), primary_key=True)
    node: Mapped[str] = mapped_column(sa.String(255), primary_key=True, comment="Celery's node name")
    queue: Mapped[str | None] = mapped_column(sa.String(255), comment="Which of the queues that it consumes is used")
    seen_at: Mapped[datetime] = mapped_column(UtcDateTime, comment="When the worker named it last")
    app: Mapped[str | None] = mapped_column(sa.String(255), comment="The name of the app that announced it")
    description: Mapped[str | None] = mapped_column(sa.Text, comment="JSON; NULL: only its name is known")
    announced_at: Mapped[datetime | None] = mapped_column(UtcDateTime, comment="When it was described so first")


class Announcement(NamedTuple):
    """What a source says of its app: the description of each task, in JSON, by name."""

    source: str
    app: str
    tasks: Mapping[str, str]


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
    _upsert(connection, rows, ("queue", "seen_at"))
    return {name for names in tasks.values() for name in names} - known


def keep_announcement(connection: sa.Connection, given: Announcement, now: datetime) -> set[str]:
    """Keep what a source announces in the place of what it announced before. Commits nothing itself.

    Gives the names of tasks that are new, described in another way, or gone.
    """
    mine = AnnouncedTask.node == given.source
    query = sa.select(AnnouncedTask.name, AnnouncedTask.description).where(mine)
    before = {row.name: row.description for row in connection.execute(query)}
    changed = {name for name, text in given.tasks.items() if before.get(name) != text}
    rows = [
        {"name": name, "node": given.source, "app": given.app, "description": given.tasks[name], "announced_at": now}
        for name in sorted(changed)
    ]
    _upsert(connection, [{**row, "seen_at": now} for row in rows], ("app", "description", "announced_at", "seen_at"))
    connection.execute(sa.update(AnnouncedTask).where(mine, _one_of(given.tasks)).values(seen_at=now))
    gone = before.keys() - given.tasks.keys()
    connection.execute(sa.delete(AnnouncedTask).where(mine, _one_of(gone)))
    if given.app:
        aged = AnnouncedTask.seen_at < now - REPLACED_AFTER
        replaced = sa.delete(AnnouncedTask).where(AnnouncedTask.app == given.app, aged)
        gone |= set(connection.execute(replaced.returning(AnnouncedTask.name)).scalars()) - given.tasks.keys()
    return changed | gone


def renew(connection: sa.Connection, nodes: Collection[str], now: datetime) -> None:
    """Remember what these workers, which are there, have named; forget the rest in time. Commits nothing itself."""
    aged = AnnouncedTask.seen_at < now - RENEWED_AFTER
    connection.execute(sa.update(AnnouncedTask).where(AnnouncedTask.node.in_(nodes), aged).values(seen_at=now))
    # Workers in containers have another name each time they start.
    later = sa.orm.aliased(AnnouncedTask)
    elsewhere = sa.exists().where(later.name == AnnouncedTask.name, later.seen_at >= now - REPLACED_AFTER)
    replaced = sa.and_(AnnouncedTask.description.is_(None), AnnouncedTask.seen_at < now - REPLACED_AFTER, elsewhere)
    gone = sa.or_(AnnouncedTask.seen_at < now - REMEMBERED, replaced)
    connection.execute(sa.delete(AnnouncedTask).where(gone))


def _one_of(names: Collection[str]) -> sa.ColumnElement[bool]:
    return dialects.one_of(AnnouncedTask.name, dialects.many(names))


def _upsert(connection: sa.Connection, rows: list[dict[str, Any]], columns: tuple[str, ...]) -> None:
    if rows:
        insert = dialects.insert(connection, AnnouncedTask)
        fresh = {name: insert.excluded[name] for name in columns}
        connection.execute(insert.on_conflict_do_update(index_elements=("name", "node"), set_=fresh), rows)


class _Named(NamedTuple):
    """A task's workers, the queue that the last of them consumes, and who described it last."""

    nodes: tuple[str, ...] = ()
    queue: str | None = None
    described_by: str | None = None
    announced_at: datetime | None = None


class AnnouncedTasks:
    """What this process knows of the table; `connect` gives a connection for reading. The last reading counts on.

    A database that is away, or has no such table yet, changes nothing. Descriptions are read where they have changed.
    """

    def __init__(self, connect: Callable[[], AbstractContextManager[sa.Connection]]) -> None:
        self._connect = connect
        self._named: Mapping[str, _Named] = {}
        self._known: Mapping[str, KnownTask] = {}
        self._until = float("-inf")

    def current(self) -> Mapping[str, KnownTask]:
        """By name."""
        if time.monotonic() >= self._until:
            self._until = time.monotonic() + READ_EVERY
            try:
                with self._connect() as connection:
                    self._read(connection)
            except sa.exc.SQLAlchemyError as error:
                logger.info("tasks of other projects cannot be read: %s", type(error).__name__)
        return self._known

    def forget(self) -> None:
        """Read the table again the next time."""
        self._until = float("-inf")

    def _read(self, connection: sa.Connection) -> None:
        named = _names(connection)
        changed = {name for name, each in named.items() if self._named.get(name) != each}
        known = {name: self._known[name] for name in named.keys() - changed}
        described = _descriptions(connection, [(name, named[name].described_by) for name in sorted(changed)])
        known |= {name: _task(name, named[name], described.get(name)) for name in changed}
        self._named, self._known = named, known


def _names(connection: sa.Connection) -> dict[str, _Named]:
    """The tasks that were named last; the queue is that of the worker that named the task last."""
    columns = (AnnouncedTask.name, AnnouncedTask.node, AnnouncedTask.queue, AnnouncedTask.announced_at)
    query = sa.select(*columns).order_by(AnnouncedTask.seen_at.desc(), AnnouncedTask.node.desc()).limit(MAX_ROWS)
    found: dict[str, _Named] = {}
    for name, node, queue, announced_at in reversed(connection.execute(query).all()):
        before = found.get(name, _Named())
        by, at = before.described_by, before.announced_at
        if announced_at is not None and (at is None or announced_at >= at):
            by, at = node, announced_at
        found[name] = _Named((*before.nodes, node), queue or before.queue, by, at)
    return {name: each._replace(nodes=tuple(sorted(each.nodes))) for name, each in found.items()}


def _descriptions(connection: sa.Connection, wanted: list[tuple[str, str | None]]) -> dict[str, str]:
    nodes: dict[str, list[str]] = {}
    for name, node in wanted:
        if node is not None:
            nodes.setdefault(node, []).append(name)
    found: dict[str, str] = {}
    for node, names in nodes.items():
        query = sa.select(AnnouncedTask.name, AnnouncedTask.description).where(AnnouncedTask.node == node)
        found |= {name: text for name, text in connection.execute(query.where(_one_of(names))) if text is not None}
    return found


def _task(name: str, named: _Named, description: str | None) -> KnownTask:
    if description is not None:
        try:
            given = json.loads(description)
            return from_description(name, {"queue": named.queue, **given}, named.nodes)
        except (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError):
            logger.warning("the announcement of the task %s by %s cannot be read", name, named.described_by)
    return by_name(name, named.nodes, named.queue)
