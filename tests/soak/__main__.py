"""`python -m tests.soak [--only R1 R3 …] [--size 0.1]`: the reliability tests; each number beside its bar."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests import servers
from tests.scheduler.beats import Rig, rig
from tests.soak import beats, clock, edits, mails, outages, pools, projects, requests, upgrades, work
from tests.soak.measure import Measure
from tests.soak.scene import Scene, load, scene
from webapp.extensions import celery

TRIALS = (
    "r1", "r2", "r3", "r4", "r5", "r6", "r8", "r9", "r10", "r11", "r12", "r13", "r16", "r17", "r18", "r21", "s3",
)  # fmt: skip


class Full:
    """The trials, in full when `size` is 1. Each begins with servers of its own, but for the one PostgreSQL."""

    def __init__(self, databases: servers.Databases, folder: Path, size: float = 1.0) -> None:
        self._databases = databases
        self._folder = folder
        self._size = size
        self._scenes = 0

    def _of(self, many: int, least: int = 1) -> int:
        return max(round(many * self._size), min(least, many))

    def r1(self) -> list[Measure]:
        """10,000 runs, Valkey killed three times, a worker every ten seconds."""
        much = work.Load(
            runs=self._of(10_000),
            each=0.005,
            workers=2,
            concurrency=2,
            valkey_kills=self._of(3),
            kill_every=10,
            worker_kills=self._of(5),
        )
        with self._scene() as made:
            return work.lost_work(made, much)

    def r2(self) -> list[Measure]:
        """4,000 mails, the same, and a mail server that lets down one recipient in four."""
        post = mails.Post(
            mails=self._of(4_000), workers=2, concurrency=2, valkey_kills=self._of(3), worker_kills=self._of(5)
        )
        with mails.mail_server() as (box, settings), self._scene(mail=settings) as made:
            return mails.sent_once(made, box, post)

    def r3(self) -> list[Measure]:
        """The leading one of two beats killed twenty times."""
        with self._rigged() as (made, rigged):
            return beats.killed(rigged, made.settings, made.valkey.client(), kills=self._of(20), every=5)

    def r4(self) -> list[Measure]:
        """The leading one of two beats killed after each of twenty firings of birthdays."""
        with (
            mails.mail_server(moody=False) as (box, settings),
            self._rigged(mail=settings) as (made, rigged),
        ):
            made.recorder()
            return mails.greeted_once(made, box, rigged, rounds=self._of(20), people=10, every=5)

    def r5(self) -> list[Measure]:
        """The leading one stopped for a minute."""
        with self._rigged() as (made, rigged):
            return beats.stopped(rigged, made.settings, made.valkey.client(), seconds=self._of(60, 4))

    def r6(self) -> list[Measure]:
        """Clocks set by an hour twenty times."""
        steps = self._of(20, 2)
        measures: list[Measure] = []
        for trial in (lambda rigged: clock.beat_steps(rigged, steps), clock.other_clocks):
            with self._rigged() as (_, rigged):
                measures += trial(rigged)
        return measures

    def r8(self) -> list[Measure]:
        """The database away for half a minute, and silent for another one."""
        direct = self._databases.postgresql()
        with (
            outages.way_to(direct) as (way, url),
            self._bare(database_url=url) as made,
            rig(direct) as rigged,
        ):
            return outages.database_away(made, way, rigged, seconds=self._of(30, 5))

    def r9(self) -> list[Measure]:
        """Redis away for half a minute."""
        with mails.mail_server(moody=False) as (box, settings), self._scene(mail=settings) as made:
            return outages.redis_away(made, box, seconds=self._of(30, 5))

    def r10(self) -> list[Measure]:
        """Valkey restarted twenty times under workers of each pool."""
        with self._scene() as made:
            return pools.restarted(made, times=self._of(20))

    def r11(self) -> list[Measure]:
        """A task that kills its process."""
        with self._scene() as made:
            return work.self_killing(made)

    def r12(self) -> list[Measure]:
        """Two workers replaced ten times under load."""
        with self._scene() as made:
            return work.rolling_restart(made, rounds=self._of(10), workers=2, concurrency=2, pace=50)

    def r13(self) -> list[Measure]:
        """A thousand edits, each by one of several ways."""
        with self._rigged() as (made, rigged):
            return edits.in_force(made, rigged, edits=self._of(1_000))

    def r16(self) -> list[Measure]:
        """Eighty projects' workers killed beside Beatdesk."""
        return projects.beside("R16", "worker", self._databases, self._folder, self._of(80))

    def r17(self) -> list[Measure]:
        """Eighty projects' brokers killed."""
        return projects.beside("R17", "broker", self._databases, self._folder, self._of(80))

    def r18(self) -> list[Measure]:
        """Beat, recorder and observer killed beside eighty projects."""
        return projects.beside("R18", "beatdesk", self._databases, self._folder, self._of(80))

    def r21(self) -> list[Measure]:
        """Processes of an old version and of this one together, replaced in several orders."""
        return upgrades.measures(self._databases.empty_postgresql, self._folder)

    def s3(self) -> list[Measure]:
        """Twenty thousand odd requests."""
        with self._bare() as made:
            return requests.measures(made.app, self._of(20_000), seed=int(time.time()))

    @contextmanager
    def _scene(self, **changes: Any) -> Iterator[Scene]:
        """A scene on PostgreSQL with a recorder and a beat."""
        with self._bare(**changes) as made:
            made.recorder()
            made.beat()
            yield made

    @contextmanager
    def _rigged(self, **changes: Any) -> Iterator[tuple[Scene, Rig]]:
        """A scene on PostgreSQL without a process, and a rig on its database."""
        with self._bare(**changes) as made, rig(made.settings.database_url) as rigged:
            yield made, rigged

    @contextmanager
    def _bare(self, database_url: str | None = None, **changes: Any) -> Iterator[Scene]:
        self._scenes += 1
        folder = self._folder / f"scene{self._scenes}"
        with scene(database_url or self._databases.postgresql(), folder, **changes) as made:
            yield made


def main() -> int:
    """Run them, print each number, say by the exit code whether every bar was reached."""
    asked = _asked()
    # An end from outside unwinds like Ctrl-C, so that every server and process ends too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    measures: list[Measure] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="soak-", ignore_cleanup_errors=True)))
        # What pages log while their servers are away is expected here, and would hide the numbers.
        logging.basicConfig(filename=folder / "pages.log")
        postgres = cache(lambda: stack.enter_context(servers.postgres()))
        full = Full(servers.Databases(folder, postgres), folder, asked.size)
        for name in TRIALS:
            if not asked.only or name in asked.only:
                measures += _report(name, getattr(full, name))
    missed = sum(not measure.reached for measure in measures)
    print(f"{len(measures)} numbers, {missed} bars not reached")
    return 1 if missed else 0


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--only", nargs="+", default=[], type=str.lower, choices=TRIALS, metavar="R1")
    parser.add_argument("--size", default=1.0, type=float, help="how much of each, such as 0.1; 1 is all of it")
    return parser.parse_args()


def _report(name: str, trial: Callable[[], list[Measure]]) -> list[Measure]:
    begun, busy = time.monotonic(), load()
    celery.conf.beat_schedule = {}
    try:
        measures = trial()
    except Exception as error:  # noqa: BLE001  # whatever breaks one trial, the others have yet to be made
        traceback.print_exc()
        text = " ".join(repr(error).split())
        measures = [Measure(name.upper(), f"could not be finished: {text}"[:200], 1, "", "=", 0)]
    for measure in measures:
        print(measure.line())
    print(f"     {time.monotonic() - begun:.0f} s, {busy} at its beginning, {load()} at its end", flush=True)
    return measures


if __name__ == "__main__":
    sys.exit(main())
