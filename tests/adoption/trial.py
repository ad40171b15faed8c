"""A project beside Beatdesk, from the first day to the last, with something killed on the way; counted by its ledger.

1. Its worker runs, as it is. Beatdesk is started beside it and observes: every execution of its users' calls is a run.
2. One of its tasks is scheduled by name, every second, with Beatdesk's beat.
3. All slots of the worker are busy and more messages wait; then the worker, the broker or Beatdesk is killed, and comes
   back.
4. Where it was Beatdesk that was killed, the worker is adopted: it starts again with one line more. Then without it.
5. Beatdesk is stopped, and the project's own beat fires again.

`Trial(case, …, beside=False)` is the same without Beatdesk, for comparison.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import redis
import sqlalchemy as sa

from tests import processes
from tests.adoption.cases import Broker, Case, slots
from tests.adoption.shapes import PACKAGES, SHAPES, Execution, Project, ProjectProcess
from tests.processes import Process
from tests.scheduler.beats import RUNS, Rig
from tests.servers import wait_for
from webapp.config import Settings
from webapp.database.engine import now
from webapp.run_store.states import UNENDED, RunState
from webapp.run_store.worker_models import Worker

EVENTS_ON = "Events of group {task} enabled by remote."
RECEIVED = re.compile(r"Task \S+\[(\S+)\] received")
# The calls of the two beats.
DUE, OWN = "due", "own"
PATIENCE = 60.0
# Seconds; more than the projects' visibility time-out.
VISIBLE_AFTER = 1.5
# Runs that may be on their way when a broker is killed.
MAX_IN_DOUBT = 3


@dataclass
class Outcome:
    """What the ledger says, against what was asked for. `twice` and `lost` count executions.

    `delivered_again` are the executions of messages that the worker had in hand when it or the broker was killed: a
    broker delivers those once more.
    """

    twice: int
    lost: int
    delivered_again: int = 0
    published_twice: int = 0
    unaccounted: int = 0
    unrecorded: int = 0
    details: list[str] = field(default_factory=list)


class Beatdesk:
    """Recorder, observer and beat, as processes."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._processes: list[Process] = []

    def start(self) -> None:
        """Start all three."""
        observer = Process(self._settings, "observer", ["flask", "observer", "run"])
        recorder = Process(self._settings, "recorder", ["flask", "recorder", "run"])
        self._processes = [observer, recorder, processes.beat(self._settings)]

    def kill(self) -> None:
        """SIGKILL to all of them."""
        for process in self._processes:
            process.kill()

    def end(self) -> None:
        """Stop them as an admin does."""
        for process in self._processes:
            process.end()


class Trial:
    """One case, with or without Beatdesk beside the project."""

    def __init__(self, case: Case, broker: Broker, settings: Settings, rig: Rig, folder: Path, *, beside: bool) -> None:
        self.case, self.broker, self.settings, self.rig = case, broker, settings, rig
        backend = settings.result_backend
        self.project = Project(SHAPES[case.project], case.environment, broker.url, backend, folder)
        self.beatdesk = Beatdesk(settings) if beside else None
        self.expected: Counter[str] = Counter()
        self.slow: list[str] = []
        self.workers: list[ProjectProcess] = []
        self.in_hand: set[str] = set()
        self.received_twice: list[str] = []
        self.schedule: int | None = None
        self.unrecorded: list[Execution] = []

    def run(self) -> Outcome:
        """All steps."""
        with ExitStack() as stack:
            self._start_worker(stack)
            if self.beatdesk:
                stack.callback(self.beatdesk.end)
                self.beatdesk.start()
                wait_for(lambda: EVENTS_ON in self.workers[-1].output(), seconds=PATIENCE, message="no events")
            self._use("first", max(3, 21 // len(self.project.shape.lines) + 1))
            self._settle()
            if self.beatdesk:
                self.unrecorded = self._unrecorded()
                self._begin_schedule()
            self._kill(stack)
            if self.beatdesk:
                if self.case.killed == "beatdesk":
                    self._adopt(stack)
                self._end_schedule()
                self.beatdesk.end()
            with self.project.beat():
                wait_for(lambda: self.project.executed()[OWN] >= 2, seconds=PATIENCE, message="its beat fires nothing")
            self._use("last", 1)
            self._settle()
        return self._outcome()

    def _start_worker(self, stack: ExitStack, app: str | None = None) -> None:
        self.workers.append(stack.enter_context(self.project.worker(self.case.pool, app)))

    def _adopt(self, stack: ExitStack) -> None:
        """Start its worker with the line that adopts it, use it, and start it again without."""
        self.project.more = {"BEATDESK_REDIS_URL": self.settings.redis_url, "SHOP_PACKAGE": self.project.package}
        self.workers[-1].end()
        before = set(self.project.executions())
        self._start_worker(stack, f"{PACKAGES}.adopting")
        node = self.workers[-1].name
        self._use("adopted", 2)
        self._settle()
        self._see_due_times()
        adopted = sa.select(Worker.id).where(Worker.name.startswith(f"{node}@"), Worker.kind == Worker.ADOPTED)

        def listed() -> bool:
            with self.rig.engine.connect() as connection:
                return connection.execute(adopted).first() is not None

        wait_for(listed, seconds=PATIENCE / 2, message="the worker was not listed as adopted")
        self.unrecorded += self._unrecorded(before)
        self.workers[-1].end()
        self.project.more = {}
        self._start_worker(stack)

    def _use(self, prefix: str, count: int) -> None:
        self.expected += self.project.use(prefix, count)

    def _settle(self, seconds: float = PATIENCE) -> bool:
        """Wait until each call has been executed, and gives whether it was; those that never are, are lost."""
        try:
            wait_for(lambda: not self.expected - self.project.executed(), seconds=seconds)
        except AssertionError:
            return False
        return True

    def _begin_schedule(self) -> None:
        """Schedule a task by its name; nothing of the project is imported here."""
        task = self.project.shape.record
        self.schedule = self.rig.interval("theirs", 1, saved=now(), task=task, args=f'["{DUE}"]')
        wait_for(lambda: self.project.executed()[DUE] >= 2, seconds=PATIENCE, message="beat fires nothing")

    def _kill(self, stack: ExitStack) -> None:
        """Fill the slots, let more messages wait, kill, come back, let all end."""
        self.slow = [f"slow-{number}" for number in range(slots(self.case))]
        self.project.begin(*self.slow)
        wait_for(lambda: all(self.project.executed()[call] for call in self.slow), seconds=PATIENCE)
        self._use("waiting", 2)
        self.in_hand = set(self._received())
        match self.case.killed:
            case "worker":
                self.workers[-1].kill()
                self._wait_until_visible()
                self._start_worker(stack)
            case "broker":
                assert self.broker.kill
                assert self.broker.come_back
                self.broker.kill()
                self.broker.come_back()
                self.project.open_gate()
                if not self._settle(PATIENCE / 3):
                    # Celery's consumer may end for good without its broker; an admin then starts the worker again.
                    self.workers[-1].kill()
                    self._wait_until_visible()
                    self._start_worker(stack)
            case "beatdesk" if self.beatdesk:
                self.beatdesk.kill()
                self.beatdesk.start()
        self.project.open_gate()
        self._settle()
        if self.beatdesk:
            self._see_due_times()
        self.received_twice = [id_ for id_, times in self._received().items() if times > 1]

    def _see_due_times(self) -> None:
        fired = self.project.executed()[DUE]
        wait_for(lambda: self.project.executed()[DUE] >= fired + 2, seconds=PATIENCE, message="beat fires no more")

    def _wait_until_visible(self) -> None:
        """Wait for the visibility time-out of what the killed worker had taken.

        The next worker looks for it when it begins, and then only every 100 seconds.
        """
        if self.case.broker != "redis":
            return
        with redis.Redis.from_url(self.broker.url) as client:
            wait_for(lambda: client.zcount("unacked_index", time.time() - VISIBLE_AFTER, "+inf") == 0, seconds=PATIENCE)

    def _end_schedule(self) -> None:
        self.rig.execute("UPDATE celery_periodictask SET enabled = false WHERE id = :id", id=self.schedule)
        assert self.schedule is not None
        schedule = self.schedule

        def settled() -> bool:
            ids = {one.task_id for one in self.project.executions()}
            return all(run.id in ids or run.state not in UNENDED for run in self.rig.runs(schedule))

        try:
            wait_for(settled, seconds=PATIENCE)
        except AssertionError:
            return  # lost, or waiting to be: the outcome counts it

    def _unrecorded(self, but: Collection[Execution] = ()) -> list[Execution]:
        """The executions so far, but these, that have no run, or one without an end.

        Before 5.7, a worker with threads or greenlets loses an event now and then before it sends it, because Celery
        empties its buffer while another thread fills it: there a run may be left without its end.
        """
        lossy = self.case.environment == "celery54" and self.case.pool in ("threads", "gevent")

        def missing() -> list[Execution]:
            query = sa.select(RUNS.c.id)
            if not lossy:
                query = query.where(RUNS.c.state.not_in(sorted(UNENDED)))
            with self.rig.engine.connect() as connection:
                known = set(connection.execute(query).scalars())
            return [one for one in self.project.executions() if one not in but and one.task_id not in known]

        try:
            wait_for(lambda: not missing(), seconds=PATIENCE / 2)
        except AssertionError:
            return missing()
        return []

    def _outcome(self) -> Outcome:
        count = self.project.executed(but=(OWN, DUE))
        slow = Counter(self.slow)
        twice, lost = count - self.expected - slow, self.expected + slow - count
        by_id = Counter(self.project.executions())
        again = {one: times - 1 for one, times in by_id.items() if times > 1 and one.task_id in self.in_hand}
        # What a task that was delivered again sends, it sends again.
        sent_again = Counter(one.call for one in again if one.call != DUE)
        twice = Counter() if sent_again and self.case.killed != "beatdesk" else twice
        repeated = {one for one, times in by_id.items() if times > 1 and one.task_id not in self.in_hand}
        outcome = Outcome(twice.total() + len(repeated), lost.total(), len(again), unrecorded=len(self.unrecorded))
        outcome.details += [
            f"twice {dict(twice)} {repeated}",
            f"delivered again {again}",
            f"lost {dict(lost)}",
            f"unrecorded {self.unrecorded}",
        ]
        if self.schedule is not None:
            self._judge_schedule(outcome, self.schedule)
        return outcome

    def _received(self) -> Counter[str]:
        """How often its workers have received the message of each task id."""
        return Counter(id_ for worker in self.workers for id_ in RECEIVED.findall(worker.output()))

    def _judge_schedule(self, outcome: Outcome, schedule: int) -> None:
        """Each second from the first to the last due time has its run; each run was sent once, and executed if sent."""
        runs = self.rig.runs(schedule)
        moments = [run.due_at for run in runs]
        span = round((moments[-1] - moments[0]).total_seconds()) + 1
        outcome.unaccounted = span - len(set(moments))
        ids = {run.id for run in runs}
        executed = {one.task_id for one in self.project.executions()}
        # A broker delivers again what a killed worker had taken, or what it could not acknowledge.
        if self.case.killed not in ("worker", "broker"):
            outcome.published_twice = len(ids.intersection(self.received_twice))
        outcome.published_twice += sum(run.sends > 1 for run in runs)
        silent = (RunState.UNCONFIRMED, RunState.MISSED, RunState.SKIPPED)
        lost = [run for run in runs if run.id not in executed and run.state not in silent]
        if self.case.killed == "broker":
            # What was being published to a broker that is killed may have been taken by it: the run becomes unconfirmed
            # later than a trial waits. One is due each second.
            in_doubt = [run for run in lost if run.state == RunState.QUEUED and run.sent_at is not None]
            lost = lost if len(in_doubt) > MAX_IN_DOUBT else [run for run in lost if run not in in_doubt]
        outcome.lost += len(lost)
        states = Counter(str(run.state) for run in runs)
        outcome.details.append(f"due {len(runs)} of {span}: {dict(states)}, not executed {[run.id for run in lost]}")
