"""The five projects as processes of their own, each in the environment of its Celery.

`shop = Project(SHAPES["plain"], "celery57", broker_url, tmp_path)`, then `with shop.worker("threads"):` and
`shop.use("calls", 20)`.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tests.adoption.environments import python_of
from tests.processes import ROOT, Process, running, start_program
from tests.servers import wait_for

PACKAGES = "tests.adoption.projects"
# Tasks that each worker executes at a time.
CONCURRENCY = 2


@dataclass(frozen=True)
class Shape:
    """A project: the lines that one use of it leaves in its ledger, and the names of two of its tasks.

    `record` writes the call into the ledger; `slow` does, and then waits for the gate. Its message is acknowledged
    `late`, after its execution, or before it.
    """

    name: str
    lines: tuple[str, ...]
    record: str
    slow: str
    late: bool = False
    queues: str = "celery"
    in_database: bool = True

    def expected(self, prefix: str, count: int) -> Counter[str]:
        """The lines of so many uses."""
        return Counter(line.format(f"{prefix}-{number}") for number in range(count) for line in self.lines)


CANVAS = (
    "part1-{}", "part2-{}", "total3-{}", "step-{}", "flaky0-{}", "flaky1-{}", "step-after-{}", "planned-{}",
    "first-{}", "second-{}",
)  # fmt: skip
SHAPES = {
    shape.name: shape
    for shape in (
        Shape(
            "plain", ("place-{}", "mail-{}", "failed-{}"), "plain.record", "plain.slow", queues="celery,orders,mail",
            in_database=False,
        ),
        Shape("django_shop", ("order-{}", "mail-{}"), "django_shop.record", "django_shop.slow"),
        Shape(
            "flask_shop", ("order0-{}", "order1-{}", "mail-{}"), "flask_shop.record", "flask_shop.slow", late=True
        ),
        Shape("fastapi_shop", ("order-{}", "mail-{}"), "fastapi_shop.record", "fastapi_shop.slow"),
        Shape("canvas", CANVAS, "canvas.record", "canvas.slow", late=True, in_database=False),
    )
}  # fmt: skip


class Execution(NamedTuple):
    """A line of a ledger."""

    call: str
    task_id: str


class ProjectProcess(Process):
    """A process of the project. Not a copy of a process that has imported ours."""

    def __init__(self, project: Project, name: str, arguments: list[str], app: str | None = None) -> None:
        self.name = name
        self.log = project.folder / f"{name}.log"
        command = [str(project.python), "-m", "celery", "-A", app or f"{project.package}.app", *arguments]
        with self.log.open("ab") as output:
            self.popen = start_program(command, project.environment(), output)


class Project:
    """One project with a folder, a broker and, for results, a Redis of its own."""

    def __init__(self, shape: Shape, environment: str, broker_url: str, backend: str, folder: Path) -> None:
        self.shape, self.broker_url, self.backend, self.folder = shape, broker_url, backend, folder
        self.package = f"{PACKAGES}.{shape.name}"
        self.python = python_of(environment)
        # What its admin sets in addition.
        self.more: dict[str, str] = {}
        self._started = 0
        folder.mkdir(parents=True, exist_ok=True)
        self.run(f"{self.package}.prepare")

    def environment(self) -> dict[str, str]:
        """The environment of its processes, without Beatdesk's settings."""
        given = {name: value for name, value in os.environ.items() if not name.startswith(("BEATDESK_", "CELERY_"))}
        return given | {
            "PYTHONPATH": str(ROOT),
            "SHOP_FOLDER": str(self.folder),
            "SHOP_BROKER": self.broker_url,
            "SHOP_BACKEND": self.backend,
            **self.more,
        }

    def run(self, module: str, *arguments: str) -> str:
        """Run one of its modules to its end; gives what it printed."""
        command = [str(self.python), "-m", module, *arguments]
        done = subprocess.run(command, env=self.environment(), cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    def use(self, prefix: str, count: int) -> Counter[str]:
        """Use it so often, by its own code; gives the lines that this leaves in the ledger."""
        self.run(f"{PACKAGES}.send", self.package, prefix, str(count))
        return self.shape.expected(prefix, count)

    def begin(self, *calls: str) -> None:
        """Send its slow task, which waits for the gate, once for each call."""
        self.run(f"{PACKAGES}.begin", self.package, self.shape.slow, *calls)

    def open_gate(self) -> None:
        """Let slow tasks end."""
        (self.folder / "gate").touch()

    @contextmanager
    def worker(self, pool: str = "prefork", app: str | None = None) -> Iterator[ProjectProcess]:
        """Its worker, which takes messages; `app` is the module of another app than its own."""
        self._started += 1
        name = f"worker{self._started}"
        usual = ["--pool", pool, "--concurrency", str(CONCURRENCY), "-Q", self.shape.queues, "--loglevel", "INFO"]
        with running(ProjectProcess(self, name, ["worker", "-n", f"{name}@%h", *usual], app)) as process:

            def ready() -> bool:
                if process.popen.poll() is not None:
                    raise AssertionError(f"{name} ended with {process.popen.returncode}: {process.output()[-3000:]}")
                return " ready." in process.output()

            wait_for(ready, seconds=60, message=f"{name} was not ready")
            yield process  # type: ignore[misc]  # what was given

    @contextmanager
    def beat(self) -> Iterator[Process]:
        """Its own beat."""
        options = ["--pidfile", "", "--loglevel", "INFO"]
        if self.shape.name not in ("django_shop", "fastapi_shop"):
            options += ["--schedule", str(self.folder / "own-schedule")]
        with running(ProjectProcess(self, "own-beat", ["beat", *options])) as process:
            yield process

    def executions(self) -> list[Execution]:
        """The lines of the ledger, as far as it is written."""
        if self.shape.in_database:
            url = f"file:{self.folder / 'shop.db'}?mode=ro"
            with closing(sqlite3.connect(url, uri=True, timeout=30)) as connection:
                return [Execution._make(row) for row in connection.execute("SELECT call, task_id FROM executions")]
        ledger = self.folder / "ledger.txt"
        lines = ledger.read_text().splitlines() if ledger.exists() else []
        return [Execution._make(line.rsplit(" ", 1)) for line in lines]

    def executed(self, *, but: tuple[str, ...] = ()) -> Counter[str]:
        """The count of each call, but of those that are named."""
        return Counter(one.call for one in self.executions() if one.call not in but)
