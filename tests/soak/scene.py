"""A deployment for outages: Valkey, a database, workers, beats and a recorder, all of them real processes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from flask import Flask

from tests import processes, servers, valkey
from tests.outages import forget_connections
from tests.processes import Process
from tests.servers import wait_for
from tests.valkey import Valkey
from webapp import create_app
from webapp.config import Settings
from webapp.database.engine import create_engine
from webapp.database.reads import reading
from webapp.extensions import celery, db, limiter
from webapp.run_store.creation import create_run
from webapp.run_store.models import Run
from webapp.run_store.states import UNENDED, Origin
from webapp.run_store.worker_models import Worker
from webapp.runs import service

TASKS = "tests.soak.tasks"


@dataclass
class Scene:
    """The deployment under test. Everything that it starts ends with it."""

    settings: Settings
    valkey: Valkey
    engine: sa.Engine
    app: Flask
    folder: Path
    stack: ExitStack
    workers: list[Process] = field(default_factory=list)
    killed: set[str] = field(default_factory=set)
    _started: int = 0

    def worker(self, *options: str, ready: bool = True) -> Process:
        """One more worker, under a name that no other ever had."""
        self._started += 1
        name = f"w{self._started}"
        arguments = ["celery", "-A", "wsgi:celery", "worker", "--loglevel", "INFO", "-n", f"{name}@%h", *options]
        process = Process(self.settings, name, arguments, TASK_MODULES=TASKS)
        self.stack.callback(process.kill)
        self.workers.append(process)
        if ready:
            wait_for(lambda: self.alive(process), seconds=60, message=f"{name} was not ready")
        return process

    def alive(self, worker: Process) -> bool:
        """Whether a worker has shown its first heartbeat, and has not left since."""
        named = (Worker.name.startswith(f"{worker.name}@"), Worker.stopped_at.is_(None))
        with reading(self.engine) as connection:
            return connection.execute(sa.select(Worker.id).where(*named)).first() is not None

    def kill(self, worker: Process) -> None:
        """SIGKILL a worker with its pool."""
        self.killed.add(worker.name)
        self.workers.remove(worker)
        worker.kill()

    def beat(self, name: str = "beat") -> Process:
        """One more beat, just started."""
        process = processes.beat(self.settings, name, TASK_MODULES=TASKS)
        self.stack.callback(process.kill)
        return process

    def recorder(self) -> None:
        """A recorder that is ready."""
        self.stack.enter_context(processes.recorder(self.settings))

    def launch(self, task: str, many: int, *args: Any, queue: str | None = None) -> list[str]:
        """Create so many runs in one transaction and send them; returns their ids."""
        runs = [create_run(db.session, task, args, origin=Origin.LAUNCH, queue=queue) for _ in range(many)]
        db.session.commit()
        service.send_runs(runs)
        return [run.id for run in runs]

    def one(self, statement: sa.Select[Any]) -> Any:
        """The first value of a query, which takes no lock that others wait for."""
        with reading(self.engine) as connection:
            return connection.execute(statement).scalar()

    def count(self, *conditions: sa.ColumnElement[bool]) -> int:
        """The number of runs that match."""
        return int(self.one(sa.select(sa.func.count()).select_from(Run).where(*conditions)))

    def run(self, run_id: str) -> Any:
        """A run's row."""
        with reading(self.engine) as connection:
            return connection.execute(sa.select(Run.__table__).where(Run.id == run_id)).one()

    def rows(self) -> list[Any]:
        """All runs."""
        with reading(self.engine) as connection:
            return list(connection.execute(sa.select(Run.__table__)))

    def unended(self, task: str) -> int:
        """The number of runs of a task that wait or run."""
        return self.count(Run.task == task, Run.state.in_(sorted(UNENDED)))

    def lines(self, file: str) -> list[list[str]]:
        """The notes of the tasks, in order."""
        path = self.folder / file
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    def execute(self, statement: str, **values: Any) -> None:
        """Some SQL."""
        with self.engine.begin() as connection:
            connection.execute(sa.text(statement), values)


@contextmanager
def scene(database_url: str, folder: Path, **changes: Any) -> Iterator[Scene]:
    """A scene without any process yet, perhaps with other settings; its application's context is pushed."""
    import_module(TASKS)
    folder.mkdir(parents=True, exist_ok=True)
    data, effects = folder / "data", folder / "effects"
    for made in (data, effects):
        made.mkdir()
    with ExitStack() as stack:
        server = stack.enter_context(valkey.running(folder))
        settings = servers.settings(database_url, server.url, data=data, task_modules=(TASKS,), **changes)
        forget_connections()
        app = create_app(settings)
        stack.enter_context(app.app_context())
        celery.conf.beat_schedule = {}
        celery.loader.import_default_modules()
        engine = create_engine(database_url)
        stack.callback(_dispose, engine)
        yield Scene(settings, server, engine, app, effects, stack)


def _dispose(engine: sa.Engine) -> None:
    engine.dispose()
    db.session.remove()
    db.engine.dispose()
    forget_connections()
    # What the limiter thinks of a server that was away belongs to that server.
    limiter._storage_dead = False


def until(what: Callable[[], Any], seconds: float) -> bool:
    """Whether it happened in time."""
    try:
        wait_for(what, seconds=seconds)
    except AssertionError:
        return False
    return True


def while_it_goes_on(left: Callable[[], int], patience: float) -> int:
    """Wait until nothing is left, or until nothing has been done for so many seconds; returns what is left then.

    What gets less is late, however busy the machine is. What does not is lost.
    """
    many, since = left(), time.monotonic()
    while many and time.monotonic() - since < patience:
        # Seldom, because counting many rows costs the machine what the workers need.
        time.sleep(0.25)
        if (less := left()) < many:
            many, since = less, time.monotonic()
    return many


def load() -> str:
    """The load of the machine, as text."""
    return "load " + " ".join(f"{value:.1f}" for value in os.getloadavg())
