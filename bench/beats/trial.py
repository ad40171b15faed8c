"""A trial, the environment of a measurement: one scheduler, its schedules, a Valkey and a database of its own."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from bench.beats.plan import QUEUE, Group, write
from bench.beats.processes import Beat, Editor, TrialError, drive, last_line
from bench.beats.servers import Storage
from bench.beats.targets import ROOT, Target
from bench.beats.watch import Watch
from tests import valkey
from tests.valkey import Valkey

# Seconds that a beat process takes to start, besides loading schedules.
PROCESS_START = 3.0
# Filling: seconds for each schedule, at most.
FILLING = 0.0003


class NotReady(TrialError):
    """It takes longer to start than was allowed for."""


@dataclass(frozen=True)
class Bench:
    """The parts that all trials share: a folder, the databases, and a factor for waits."""

    folder: Path
    storage: Storage
    slack: float = 1.0


@dataclass
class Trial:
    """A scheduler with its schedules in place. `start` starts a beat; the trial ends what it started."""

    target: Target
    broker: Valkey
    folder: Path
    environment: dict[str, str]
    ready: float
    beats: list[Beat] = field(default_factory=list)

    def start(self) -> Beat:
        """Start one more beat."""
        folder = self.folder / f"beat{len(self.beats)}" if self.target.storage != "files" else self.folder
        folder.mkdir(exist_ok=True)
        beat = Beat(self.target, self.environment, folder)
        self.beats.append(beat)
        return beat

    def watch(self, queue: str = QUEUE) -> Watch:
        """Watch a queue from now on."""
        return Watch(self.broker.client(), queue)

    def wait_until_ready(self) -> None:
        """Start a beat and wait until it is at work. Raises NotReady when that is later than was planned for."""
        self.start()
        self.wait_for_pulse(self.ready)

    def wait_for_pulse(self, until: float) -> None:
        """Wait until a beat is at work. Raises TrialError."""
        with self.broker.client() as client:
            before: Any = client.llen("pulse")
            while client.llen("pulse") == before:
                if time.time() > until:
                    raise NotReady("it was not ready in time")
                if not self.alive():
                    raise TrialError(f"beat has ended: {last_line(self.beats[-1].log)}")
                time.sleep(0.05)

    def alive(self) -> bool:
        """Whether a beat is running."""
        return any(not beat.ended for beat in self.beats)

    def probe(self, seconds: float, at_most: float) -> dict[str, Any]:
        """Run the driver's probe."""
        environment = {**self.environment, "BENCH_SECONDS": str(seconds)}
        result: dict[str, Any] = json.loads(drive(self.target, "probe", environment, self.folder, at_most))
        return result

    def editor(self) -> AbstractContextManager[Editor]:
        """A process that edits."""
        return Editor.running(self.target, self.environment, self.folder)

    def end(self) -> None:
        """End every beat."""
        for beat in self.beats:
            beat.kill()


@contextmanager
def trial(bench: Bench, target: Target, groups: Callable[[float], list[Group]]) -> Iterator[Trial]:
    """A trial with the groups that `groups` makes of the moment at which beat will be ready (epoch seconds).

    That moment is known when the filling begins, so `groups` must do no more than add to it.
    """
    folder = Path(mkdtemp(prefix=f"{target.key}-", dir=bench.folder))
    plan = folder / "plan.json"
    planned = groups(0.0)
    write(plan, planned)
    count = sum(group.count for group in planned)
    with valkey.running(folder / "valkey") as broker:
        environment = _environment(bench, target, broker, folder, plan)
        environment["BENCH_SECONDS"] = str(bench.slack * (PROCESS_START + count * (target.allowance + FILLING)))
        ready = float(json.loads(drive(target, "fill", environment, folder, 300))["ready"])
        made = Trial(target, broker, folder, environment, ready)
        if "postgresql" in target.storage:
            bench.storage.settle()
        try:
            yield made
        finally:
            made.end()


def _environment(bench: Bench, target: Target, broker: Valkey, folder: Path, plan: Path) -> dict[str, str]:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("CELERY", "DJANGO", "PYTHON"))},
        "PYTHONPATH": str(ROOT),
        "BENCH_BROKER": broker.url,
        "BENCH_FOLDER": str(folder),
        "BENCH_PLAN": str(plan),
    }
    match target.storage:
        case "postgresql":
            environment["BENCH_DATABASE"] = bench.storage.empty_postgresql()
        case "our postgresql":
            environment["BENCH_DATABASE"] = bench.storage.migrated_postgresql()
        case "our sqlite":
            environment["BENCH_DATABASE"] = bench.storage.migrated_sqlite()
    if target.ours:
        environment |= {
            "SECRET_KEY": "only-for-measuring-0123456789",
            "DATABASE_URL": environment["BENCH_DATABASE"],
            "REDIS_URL": broker.url,
            "TIMEZONE": "UTC",
            "TASK_MODULES": "bench.beats.tasks",
            "BEATDESK_DATA": str(folder),
        }
    return environment
