"""`python -m tests.soak [--only R1 R3 …]`: the reliability tests in full; each number beside its bar."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from tests import servers
from tests.scheduler.beats import rig
from tests.soak import beats, clock, pools, work
from tests.soak.measure import Measure
from tests.soak.scene import Scene, load, scene
from webapp.extensions import celery


class Full:
    """The trials in full. Each begins with servers of its own, but for the one PostgreSQL."""

    def __init__(self, databases: servers.Databases, folder: Path) -> None:
        self._databases = databases
        self._folder = folder
        self._scenes = 0

    @contextmanager
    def scene(self) -> Iterator[Scene]:
        """A scene on PostgreSQL with a recorder and a beat."""
        self._scenes += 1
        with scene(self._databases.postgresql(), self._folder / f"scene{self._scenes}") as made:
            made.recorder()
            made.beat()
            yield made

    def r1(self) -> list[Measure]:
        """10,000 runs, Valkey killed three times, a worker every ten seconds."""
        much = work.Load(
            runs=10_000, each=0.005, workers=2, concurrency=2, valkey_kills=3, kill_every=10, worker_kills=5
        )
        with self.scene() as made:
            return work.lost_work(made, much)

    def r3(self) -> list[Measure]:
        """The leading one of two beats killed twenty times."""
        with self.scene_without_processes() as made, rig(made.settings.database_url) as rigged:
            return beats.killed(rigged, made.settings, made.valkey.client(), kills=20, every=5)

    def r5(self) -> list[Measure]:
        """The leading one stopped for a minute."""
        with self.scene_without_processes() as made, rig(made.settings.database_url) as rigged:
            return beats.stopped(rigged, made.settings, made.valkey.client(), seconds=60)

    def r6(self) -> list[Measure]:
        """Clocks set by an hour twenty times."""
        measures: list[Measure] = []
        for trial in (lambda rigged: clock.beat_steps(rigged, 20), clock.other_clocks):
            with self.scene_without_processes() as made, rig(made.settings.database_url) as rigged:
                measures += trial(rigged)
        return measures

    def r10(self) -> list[Measure]:
        """Valkey restarted twenty times under workers of each pool."""
        with self.scene() as made:
            return pools.restarted(made, times=20)

    def r11(self) -> list[Measure]:
        """A task that kills its process."""
        with self.scene() as made:
            return work.self_killing(made)

    def r12(self) -> list[Measure]:
        """Two workers replaced ten times under load."""
        with self.scene() as made:
            return work.rolling_restart(made, rounds=10, workers=2, concurrency=2, pace=50)

    @contextmanager
    def scene_without_processes(self) -> Iterator[Scene]:
        """A scene on PostgreSQL."""
        self._scenes += 1
        with scene(self._databases.postgresql(), self._folder / f"scene{self._scenes}") as made:
            yield made


def main() -> int:
    """Run them, print each number, say by the exit code whether every bar was reached."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--only", nargs="+", default=[], help="such as R1 R12")
    only = {name.lower() for name in parser.parse_args().only}
    # An end from outside unwinds like Ctrl-C, so that every server and process ends too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    measures: list[Measure] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="soak-", ignore_cleanup_errors=True)))
        postgres = cache(lambda: stack.enter_context(servers.postgres()))
        full = Full(servers.Databases(folder, postgres), folder)
        trials: dict[str, Callable[[], list[Measure]]] = {
            name: getattr(full, name) for name in ("r1", "r3", "r5", "r6", "r10", "r11", "r12")
        }
        for name, trial in trials.items():
            if not only or name in only:
                measures += _report(name, trial)
    missed = sum(not measure.reached for measure in measures)
    print(f"{len(measures)} numbers, {missed} bars not reached")
    return 1 if missed else 0


def _report(name: str, trial: Callable[[], list[Measure]]) -> list[Measure]:
    begun, busy = time.monotonic(), load()
    celery.conf.beat_schedule = {}
    try:
        measures = trial()
    except AssertionError as error:
        measures = [Measure(name.upper(), f"could not be finished: {error}"[:200], 1, "", "=", 0)]
    for measure in measures:
        print(measure.line())
    print(f"     {time.monotonic() - begun:.0f} s, {busy} at its beginning, {load()} at its end", flush=True)
    return measures


if __name__ == "__main__":
    sys.exit(main())
