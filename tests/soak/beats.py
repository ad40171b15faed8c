"""R3 and R5: two beats, of which the leading one is killed, or stopped and continued."""

from __future__ import annotations

import json
import signal
import time
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
from webapp.config import Settings
from webapp.database import now

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
        wait_for(self.leader, seconds=60, message="no beat leads")
        self.start()
        wait_for(lambda: self.known() == 2, seconds=60, message="the second beat does not stand by")

    def start(self) -> None:
        """One more beat."""
        self._started += 1
        process = processes.beat(self._settings, f"beat{self._started}")
        self._stack.callback(process.kill)
        self.beats.append(process)

    def known(self) -> int:
        """How many beats have said that they are there."""
        return int(self._one("SELECT count(*) FROM beats")[0])

    def leader(self) -> Process | None:
        """Who leads."""
        row = self._one(_LEADER)
        return next((beat for beat in self.beats if row is not None and beat.popen.pid == row[0]), None)

    def succeeded_by_other(self, former: Process, seconds: float) -> Process:
        """Wait until another one leads; gives it."""
        wait_for(lambda: self.leader() not in (None, former), seconds=seconds, message="nobody took over")
        leader = self.leader()
        assert leader is not None
        return leader

    def _one(self, statement: str) -> Any:
        with self.rig.engine.connect() as connection:
            return connection.execute(sa.text(statement)).first()


def killed(rig: Rig, settings: Settings, redis: Any, *, kills: int, every: int) -> list[Measure]:
    """R3: the leader is killed again and again, under a schedule of `every` seconds."""
    longest = 0.0
    with ExitStack() as stack:
        pair = Pair(rig, settings, stack)
        made = rig.interval("i", every, saved=now())
        wait_for(lambda: len(rig.runs(made)) >= 2, seconds=10 + 3 * every)
        for kill in range(kills):
            leader = pair.leader()
            assert leader is not None
            leader.kill()
            at = time.monotonic()
            pair.beats.remove(leader)
            pair.succeeded_by_other(leader, 30)
            longest = max(longest, time.monotonic() - at)
            if kill + 1 < kills:
                pair.start()
                wait_for(lambda: pair.known() >= 2, seconds=60)
            before = len(rig.runs(made))
            wait_for(lambda many=before: len(rig.runs(made)) > many, seconds=10 + 3 * every)  # type: ignore[misc]
        rig.execute("UPDATE celery_periodictask SET enabled = false")
        wait_for(lambda: all(run.sent_at for run in rig.runs(made)), seconds=20)
    dues = [run.due_at for run in rig.runs(made)]
    step = timedelta(seconds=every)
    missed = sum((later - earlier) // step - 1 for earlier, later in pairwise(sorted(set(dues))))
    sent = {run.id for run in rig.runs(made)}
    return [
        Measure("R3", f"leader killed {kills} times, {len(dues)} runs: missed", missed, "", "=", 0),
        Measure("R3", "fired twice", len(dues) - len(set(dues)), "", "=", 0),
        Measure("R3", "not in the broker", len(sent - set(message_ids(redis))), "", "=", 0),
        Measure("R3", "longest failover", longest, " s", "≤", 5),
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
        former.signal(signal.SIGCONT)
        wait_for(lambda: "stands by" in former.output(), seconds=15)
        before = len(rig.runs(made))
        wait_for(lambda: len(rig.runs(made)) >= before + 2, seconds=15)
        still = pair.leader() is other
        rig.execute("UPDATE celery_periodictask SET enabled = false")
    dues = [run.due_at for run in rig.runs(made)]
    ids = message_ids(redis)
    missed = sum((later - earlier) // timedelta(seconds=1) - 1 for earlier, later in pairwise(sorted(set(dues))))
    return [
        Measure("R5", f"leader stopped for {seconds:g} s and continued: leads again", int(not still), "", "=", 0),
        Measure("R5", "published twice", len(ids) - len(set(ids)), "", "=", 0),
        Measure("R5", "missed", missed, "", "=", 0),
        Measure("R5", "failover", failover, " s", "≤", 5),
    ]


def message_ids(redis: Any) -> list[str]:
    """The runs whose messages lie in the default queue."""
    return [json.loads(raw)["headers"]["id"] for raw in redis.lrange("celery", 0, -1)]
