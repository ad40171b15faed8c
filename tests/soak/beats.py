"""R3 and R5: two beats, of which the leading one is killed, or stopped and continued."""

from __future__ import annotations

import json
import logging
import signal
import time
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import timedelta
from itertools import pairwise
from typing import Any

import sqlalchemy as sa

from tests import processes
from tests.processes import Process
from tests.scheduler.beats import Rig
from tests.servers import wait_for
from tests.soak.measure import Measure
from tests.soak.scene import until
from webapp.config import Settings
from webapp.database.engine import now
from webapp.run_store.states import RunState

logger = logging.getLogger(__name__)

# Seconds that a process has to start on a busy machine.
START_PATIENCE = 90
_LEADER = "SELECT b.pid, l.token FROM beat_lease l JOIN beats b ON b.id = l.holder WHERE l.expires_at IS NOT NULL"


class Pair:
    """Two beats; who is killed is replaced."""

    def __init__(self, rig: Rig, settings: Settings, stack: ExitStack) -> None:
        self.rig = rig
        self._settings = settings
        self._stack = stack
        self._started = 0
        self.beats: list[Process] = []
        self.start()
        wait_for(self.leader, seconds=START_PATIENCE, message="no beat leads")
        self.start()
        self.stands_by()

    def start(self) -> None:
        """One more beat."""
        self._started += 1
        process = processes.beat(self._settings, f"beat{self._started}")
        self._stack.callback(process.kill)
        self.beats.append(process)

    def stands_by(self) -> None:
        """Wait until all that were started have loaded the schedules; who was killed keeps a row for a day."""
        pids = {beat.popen.pid for beat in self.beats}
        wait_for(lambda: pids <= self._pids(), seconds=START_PATIENCE, message="the second beat does not stand by")

    def _pids(self) -> set[int]:
        with self.rig.engine.connect() as connection:
            return set(connection.execute(sa.text("SELECT pid FROM beats")).scalars())

    def leader(self) -> Process | None:
        """The leader."""
        row = self._one(_LEADER)
        return next((beat for beat in self.beats if row is not None and beat.popen.pid == row[0]), None)

    def succeeded_by_other(self, former: Process, seconds: float) -> Process:
        """Wait until another one leads; returns it."""
        wait_for(lambda: self.leader() not in (None, former), seconds=seconds, message="no beat took over")
        leader = self.leader()
        assert leader is not None
        return leader

    def _one(self, statement: str) -> Any:
        with self.rig.engine.connect() as connection:
            return connection.execute(sa.text(statement)).first()


def killed(rig: Rig, settings: Settings, redis: Any, *, kills: int, every: int) -> list[Measure]:
    """R3: the leader is killed again and again, under a schedule of `every` seconds.

    Each time the other one stands by already: a process that is yet to start takes as long as the machine is busy, and
    what is late by more than the tolerance of a misfire is rightly missed.
    """
    longest = 0.0
    with ExitStack() as stack:
        pair = Pair(rig, settings, stack)
        made = rig.interval("i", every, saved=now())
        wait_for(lambda: len(rig.runs(made)) >= 2, seconds=10 + 3 * every)
        for kill in range(kills):
            leader = wait_for(pair.leader, seconds=30, message="no beat leads")
            leader.kill()
            at = time.monotonic()
            pair.beats.remove(leader)
            pair.succeeded_by_other(leader, START_PATIENCE)
            longest = max(longest, time.monotonic() - at)
            if kill + 1 < kills:
                pair.start()
                pair.stands_by()
            before = len(rig.runs(made))
            wait_for(lambda many=before: len(rig.runs(made)) > many, seconds=10 + 3 * every)  # type: ignore[misc]
        rig.execute("UPDATE celery_periodictask SET enabled = false")
        until(lambda: not _unsent(rig), 60)
        if _unsent(rig):
            logger.error("%s", [tuple(run) for run in rig.runs(state=RunState.QUEUED) if run.sent_at is None])
            for beat in pair.beats:
                logger.error("%s: %s", beat.name, beat.stacks() if processes.PRELOADED else beat.output()[-20_000:])
    to_send = {run.id for run in rig.runs(made) if run.state == RunState.QUEUED}
    return [
        *_due_times("R3", f"leader killed {kills} times", rig.runs(made), every),
        Measure("R3", "not marked as sent a minute later", _unsent(rig), "", "=", 0),
        Measure("R3", "not in the broker", len(to_send - set(message_ids(redis))), "", "=", 0),
        Measure("R3", "longest failover", longest, " s", "≤", 5),
    ]


def _unsent(rig: Rig) -> int:
    """The number of runs that wait to be sent; missed ones never are."""
    return sum(run.sent_at is None for run in rig.runs(state=RunState.QUEUED))


def _due_times(test: str, done: str, runs: Sequence[Any], every: int) -> list[Measure]:
    """Of what came due every so many seconds: what has no run, what has one that was missed, what has two."""
    dues = [run.due_at for run in runs]
    step = timedelta(seconds=every)
    silent = sum((later - earlier) // step - 1 for earlier, later in pairwise(sorted(set(dues))))
    missed = sum(run.state != RunState.QUEUED for run in runs)
    return [
        Measure(test, f"{done}, {len(dues)} runs: due times without a run", silent, "", "=", 0),
        Measure(test, "missed, and shown as missed", missed, "", "=", 0),
        Measure(test, "fired twice", len(dues) - len(set(dues)), "", "=", 0),
    ]


def stopped(rig: Rig, settings: Settings, redis: Any, *, seconds: float) -> list[Measure]:
    """R5: the leader is stopped (SIGSTOP) and continued when another one has led for a while."""
    with ExitStack() as stack:
        pair = Pair(rig, settings, stack)
        made = rig.interval("i", 1, saved=now())
        wait_for(lambda: len(rig.runs(made)) >= 2, seconds=15)
        former = pair.leader()
        assert former is not None
        former.signal(signal.SIGSTOP)
        at = time.monotonic()
        other = pair.succeeded_by_other(former, 30)
        failover = time.monotonic() - at
        wait_for(lambda: time.monotonic() - at >= seconds and len(rig.runs(made)) >= 6, seconds=seconds + 30)
        # Stopped between sending and noting it, the former leader leaves a run that the other one sends again, same id.
        resent = _twice(redis)
        former.signal(signal.SIGCONT)
        wait_for(lambda: "stands by" in former.output(), seconds=15)
        before = len(rig.runs(made))
        wait_for(lambda: len(rig.runs(made)) >= before + 2, seconds=15)
        still = pair.leader() is other
        rig.execute("UPDATE celery_periodictask SET enabled = false")
    return [
        *_due_times("R5", f"leader stopped for {seconds:g} s", rig.runs(made), 1),
        Measure("R5", "leads again", int(not still), "", "=", 0),
        Measure("R5", "published twice since it was continued", _twice(redis) - resent, "", "=", 0),
        Measure("R5", "failover", failover, " s", "≤", 5),
    ]


def _twice(redis: Any) -> int:
    ids = message_ids(redis)
    return len(ids) - len(set(ids))


def message_ids(redis: Any) -> list[str]:
    """The runs whose messages lie in the default queue."""
    return [json.loads(raw)["headers"]["id"] for raw in redis.lrange("beatdesk", 0, -1)]
