"""Processes of two versions together: the database is migrated under the old ones, which are then replaced one by one.

Each process is of one tree of files, with the packages of this environment: today's lock contains that of `SINCE`.
"""

from __future__ import annotations

import io
import signal
import subprocess
import sys
import tarfile
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tests import servers
from tests.processes import ROOT, end_group, environment
from tests.servers import wait_for
from tests.soak import tasks
from tests.soak.measure import Measure
from webapp.config import Settings

# The oldest version whose processes run beside today's.
SINCE = "fddda6a"
COMMANDS = {
    "recorder": ["flask", "recorder", "run"],
    "beat": ["celery", "-A", "wsgi:celery", "beat", "--loglevel", "INFO"],
    "worker": ["celery", "-A", "wsgi:celery", "worker", "--loglevel", "INFO", "--concurrency", "2"],
}
ORDERS = (("worker", "beat", "recorder"), ("beat", "recorder", "worker"), ("recorder", "worker", "beat"))
SCHEDULES = 5
# Executions between two steps.
STEP = 4 * SCHEDULES
LAUNCHES = 2
UNENDED = ("held", "queued", "started", "retrying")


def old_tree(folder: Path, commit: str = SINCE) -> Path:
    """The files of a commit. Raises CalledProcessError without git's history."""
    packed = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
    return folder


class Mixed:
    """One installation whose processes are started from either tree."""

    def __init__(self, settings: Settings, trees: dict[str, Path], folder: Path, stack: ExitStack) -> None:
        self._settings = settings
        self._trees = trees
        self._folder = folder
        self._stack = stack
        self._engine = sa.create_engine(settings.database_url)
        stack.callback(self._engine.dispose)

    def _environment(self, version: str) -> dict[str, str]:
        given = environment(self._settings, TASK_MODULES=tasks.__name__)
        return given | {"PYTHONPATH": str(self._trees[version]), "PYTHONDONTWRITEBYTECODE": "1"}

    def command(self, version: str, *arguments: str) -> None:
        """Run a command of one version to its end."""
        done = subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=self._trees[version],
            env=self._environment(version),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{version} {arguments}: {done.stdout[-2000:]}{done.stderr[-4000:]}")

    def start(self, version: str, role: str) -> subprocess.Popen[bytes]:
        """Start a process, which ends with the trial."""
        arguments = [sys.executable, "-m", *COMMANDS[role]]
        if role == "worker":
            arguments += ["-n", f"{version}@%h"]
        with (self._folder / f"{version}-{role}.log").open("ab") as output:
            process = subprocess.Popen(
                arguments,
                cwd=self._trees[version],
                env=self._environment(version),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._stack.callback(end_group, process)
        return process

    def schedule(self) -> None:
        """Schedules of a second each, as another program would insert them."""
        with self._engine.begin() as connection:
            statement = "INSERT INTO celery_intervalschedule (every, period) VALUES (1, 'seconds') RETURNING id"
            rule = connection.execute(sa.text(statement)).scalar_one()
            for number in range(SCHEDULES):
                statement = (
                    "INSERT INTO celery_periodictask (name, task, args, kwargs, discriminator, schedule_id, enabled, "
                    "one_off, total_run_count) VALUES (:name, 'soak.work', :args, '{}', 'intervalschedule', :rule, "
                    "true, false, 0)"
                )
                values = {"name": f"s{number}", "args": f'["{self._folder}"]', "rule": rule}
                connection.execute(sa.text(statement), values)

    def stop_schedules(self) -> None:
        """Let nothing more come due."""
        with self._engine.begin() as connection:
            connection.execute(sa.text("UPDATE celery_periodictask SET enabled = false"))

    def launch(self, version: str) -> None:
        """Launch runs, as the web process of that version does."""
        for _ in range(LAUNCHES):
            self.command(version, "flask", "runs", "launch", "soak.work", "--args", f'["{self._folder}"]')

    def executed(self) -> Counter[str]:
        """How often each run was executed."""
        ledger = self._folder / tasks.DONE
        return Counter(ledger.read_text().split()) if ledger.exists() else Counter()

    def go_on(self, what: str) -> None:
        """Wait for further executions."""
        before = self.executed().total()
        wait_for(lambda: self.executed().total() >= before + STEP, seconds=180, message=f"no execution after: {what}")

    def go_on_waiting(self, what: str) -> None:
        """Wait for further runs, which no worker executes yet."""
        before = len(self.states())
        wait_for(lambda: len(self.states()) >= before + STEP, seconds=60, message=f"no runs after: {what}")

    def states(self) -> dict[str, str]:
        """The state of each run."""
        with self._engine.connect() as connection:
            return {row.id: row.state for row in connection.execute(sa.text("SELECT id, state FROM runs"))}

    def due_times(self) -> list[tuple[int, Any]]:
        """Schedule and due time of each run that has them, in order."""
        query = "SELECT schedule_id, due_at FROM runs WHERE due_at IS NOT NULL ORDER BY schedule_id, due_at"
        with self._engine.connect() as connection:
            text = sa.text(query).columns(sa.Column("schedule_id", sa.Integer), sa.Column("due_at", sa.DateTime))
            return [(row.schedule_id, row.due_at) for row in connection.execute(text)]


def replaced(mixed: Mixed, order: Sequence[str]) -> list[Measure]:
    """Run the old version, migrate the database, and replace its processes in an order."""
    mixed.command("old", "flask", "db", "upgrade")
    running = {role: mixed.start("old", role) for role in COMMANDS}
    mixed.schedule()
    mixed.launch("old")
    mixed.go_on("the start")
    mixed.command("new", "flask", "db", "upgrade")
    mixed.go_on("the migration")
    for place, role in enumerate(order):
        mixed.start("new", role)
        for version in ("old", "new"):
            mixed.launch(version)
        # A new beat sends to a queue that the old worker does not consume: those runs wait for a new one.
        started = order[: place + 1]
        go_on = mixed.go_on_waiting if "beat" in started and "worker" not in started else mixed.go_on
        go_on(f"starting a new {role}")
        end_group(running[role], signal.SIGTERM)
        go_on(f"ending the old {role}")
    mixed.stop_schedules()
    wait_for(
        lambda: not any(state in UNENDED for state in mixed.states().values()), seconds=300, message="runs do not end"
    )
    return _measured(mixed, " → ".join(order))


def _measured(mixed: Mixed, order: str) -> list[Measure]:
    executed, states = mixed.executed(), mixed.states()
    dues: dict[int, list[Any]] = {}
    for schedule, due in mixed.due_times():
        dues.setdefault(schedule, []).append(due)
    gaps = sum(
        round((after - before).total_seconds()) - 1 for times in dues.values() for before, after in pairwise(times)
    )
    lost = [run for run, state in states.items() if state == "succeeded" and not executed[run]]
    others = Counter(state for state in states.values() if state != "succeeded")
    return [
        Measure("R21", f"{order}: runs executed", executed.total()),
        Measure("R21", f"{order}: executed twice", sum(1 for times in executed.values() if times > 1), "", "=", 0),
        Measure("R21", f"{order}: succeeded without an execution", len(lost), "", "=", 0),
        Measure("R21", f"{order}: executed without a row", len(executed.keys() - states.keys()), "", "=", 0),
        Measure("R21", f"{order}: due times without a run", gaps, "", "=", 0),
        Measure("R21", f"{order}: not succeeded {dict(others)}", others.total(), "", "=", 0),
    ]


@contextmanager
def mixed(database_url: str, folder: Path) -> Iterator[Mixed]:
    """An empty database with a Valkey, and both trees."""
    folder.mkdir(parents=True)
    trees = {"old": old_tree(folder / "old"), "new": ROOT}
    with ExitStack() as stack:
        valkey = stack.enter_context(servers.valkey(folder / "valkey"))
        settings = servers.settings(database_url, valkey, data=folder)
        yield Mixed(settings, trees, folder, stack)


def measures(make_database: Any, folder: Path) -> list[Measure]:
    """Every order."""
    found: list[Measure] = []
    for order in ORDERS:
        with mixed(make_database(), folder / uuid.uuid4().hex) as made:
            found += replaced(made, order)
    return found
