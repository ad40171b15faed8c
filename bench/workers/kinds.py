"""The kinds of worker that are measured, each as a process with a Valkey and a database of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import redis
import sqlalchemy as sa
from celery import Celery

from beatdesk.execution.events import STREAM
from beatdesk.execution.ids import new_id
from bench.beats.processes import TrialError, end, last_line
from bench.beats.servers import Storage
from bench.beats.targets import ENVIRONMENTS, OURS, ROOT
from bench.workers.tasks import LAST
from tests import servers
from webapp.database.engine import create_engine, now
from webapp.messaging import celery_config
from webapp.run_store.models import Run
from webapp.run_store.states import RunState

# Where the peers are installed.
ENVIRONMENT = "djcb"
# Messages wait here, where no worker takes them, until this becomes the queue in one step.
PARKED = "parked"
PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Kind:
    """A way to execute tasks. `database` is "" where none is needed."""

    key: str
    title: str
    database: str = ""
    task: str = "bench.empty"
    options: tuple[str, ...] = ()
    observed: bool = False

    @property
    def ours(self) -> bool:
        """Whether it is Beatdesk's own worker."""
        return self.key.startswith("ours")


PLAIN = Kind("plain", "celery, nothing else")
# Of what a project adds to a worker as it is, PLAIN is the measure; ours adds the claim and the record to this.
SETTINGS = Kind("settings", "celery, with our settings")
RECORD_ALONE = Kind("ours_told", "ours, the record alone", "migrated_postgresql")
KINDS = (
    PLAIN,
    SETTINGS,
    Kind("events", "celery, task events (-E)", options=("-E",)),
    Kind("observed", "celery, observed", "migrated_postgresql", observed=True),
    Kind("adopted", "celery, adopted"),
    Kind("results", "django-celery-results", "empty_postgresql", "bench.empty_kept"),
    RECORD_ALONE,
    Kind("ours", "ours, PostgreSQL", "migrated_postgresql"),
    Kind("ours_sqlite", "ours, SQLite", "migrated_sqlite"),
)


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of one task, in milliseconds."""

    cpu: float
    wall: float


class Worker:
    """A prefork worker with one process, ready for tasks."""

    def __init__(self, kind: Kind, url: str, database: str, popen: subprocess.Popen[Any], log: Path) -> None:
        self.kind = kind
        self._log = log
        self._popen = popen
        self._redis = redis.Redis.from_url(url, decode_responses=True)
        self._sender = Celery("sender", broker=url)
        self._engine = create_engine(database) if kind.ours else None

    def execute(self, count: int) -> Cost:
        """Execute `count` tasks, all queued before the first begins. Raises TrialError."""
        self._park(count)
        self._redis.delete(LAST)
        main = psutil.Process(self._popen.pid)
        before, began = _spent(main), time.monotonic()
        self._redis.rename(PARKED, celery_config.DEFAULT_QUEUE if self.kind.ours else "celery")
        give_up = began + PATIENCE
        while not self._redis.exists(LAST):
            if time.monotonic() > give_up or self._popen.poll() is not None:
                raise TrialError(f"its tasks did not end: {last_line(self._log)}")
            time.sleep(0.005)
        wall, cpu = time.monotonic() - began, _spent(main) - before
        return Cost(cpu / count * 1000, wall / count * 1000)

    def is_recorded(self) -> bool:
        """Whether events of tasks arrive in our stream; executes two."""
        self.execute(2)
        return bool(self._redis.exists(STREAM))

    def _park(self, count: int) -> None:
        names = [self.kind.task] * (count - 1) + ["bench.last"]
        # Of what Beatdesk sends, which alone is claimed.
        is_claimed = self.kind.ours or self.kind.key == "adopted"
        ids = [new_id() if is_claimed else str(uuid.uuid4()) for _ in names]
        if self._engine is not None:
            # As a launch or a schedule writes them.
            rows = [{"id": one, "task": name, "sent_at": now()} for one, name in zip(ids, names, strict=True)]
            with self._engine.begin() as connection:
                connection.execute(sa.insert(Run).values(state=RunState.QUEUED), rows)
        with self._sender.connection_for_write() as connection, connection.Producer() as producer:
            for name, one in zip(names, ids, strict=True):
                self._sender.send_task(name, task_id=one, queue=PARKED, producer=producer)

    def close(self) -> None:
        """End it."""
        end(self._popen, signal.SIGTERM)
        self._redis.close()
        if self._engine is not None:
            self._engine.dispose()


def _spent(main: psutil.Process) -> float:
    """CPU seconds of a worker: its main process, and those that execute, also the ones that were replaced."""
    gone = main.cpu_times()
    living = sum(_seconds(process.pid) for process in (main, *main.children()))
    return living + float(gone.children_user + gone.children_system)


def _seconds(pid: int) -> float:
    """CPU seconds of a process by its own clock, on Linux; `/proc` counts hundredths of a second."""
    return time.clock_gettime(~pid << 3 | 2)


@contextmanager
def worker(kind: Kind, folder: Path, storage: Storage) -> Iterator[Worker]:
    """A worker of this kind, started, which ends with the block."""
    data = folder / f"worker-{kind.key}"
    (data / "valkey").mkdir(parents=True)
    with servers.valkey(data / "valkey") as url:
        database = getattr(storage, kind.database)() if kind.database else ""
        log = data / "worker.log"
        with log.open("wb") as output:
            popen = subprocess.Popen(
                [*_command(kind), "--pool", "prefork", "--concurrency", "1", "--loglevel", "WARNING", *kind.options],
                env=_environment(kind, data, url, database),
                cwd=data,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        made = Worker(kind, url, database, popen, log)
        try:
            with _observer(kind, data, url, database, made):
                yield made
        finally:
            made.close()


@contextmanager
def _observer(kind: Kind, data: Path, url: str, database: str, observed: Worker) -> Iterator[None]:
    """An observer, where this kind has one, that has switched the worker's events on."""
    if not kind.observed:
        yield
        return
    log = data / "observer.log"
    with log.open("wb") as output:
        popen = subprocess.Popen(
            [str(OURS.python), "-m", "flask", "--app", "wsgi", "observer", "run"],
            env=_environment(kind, data, url, database),
            cwd=data,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        give_up = time.monotonic() + PATIENCE
        while not observed.is_recorded():
            if time.monotonic() > give_up or popen.poll() is not None:
                raise TrialError(f"it is not observed: {last_line(log)}")
        yield
    finally:
        end(popen, signal.SIGTERM)


def _command(kind: Kind) -> list[str]:
    # The kind with which ours is compared has the same packages.
    python = OURS.python if kind.ours or kind is SETTINGS else ENVIRONMENTS / ENVIRONMENT / "bin" / "python"
    app = "wsgi:celery" if kind.ours else "bench.workers.app:app"
    return [str(python), "-m", "celery", "-A", app, "worker"]


def _environment(kind: Kind, data: Path, url: str, database: str) -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(("CELERY", "DJANGO", "PYTHON"))},
        "PYTHONPATH": str(ROOT),
        "BENCH_KIND": kind.key,
        "BENCH_SETTINGS": json.dumps(celery_config.execution(url) if kind is SETTINGS else {}),
        "BENCH_BROKER": url,
        "BENCH_DATABASE": database,
        "SECRET_KEY": "only-for-measuring-0123456789",
        "DATABASE_URL": database,
        "REDIS_URL": url,
        "TIMEZONE": "UTC",
        "TASK_MODULES": "bench.workers.tasks",
        "BEATDESK_DATA": str(data),
    }
