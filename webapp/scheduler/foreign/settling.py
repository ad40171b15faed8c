"""Settles runs that are only observed, every ten seconds: their workers report nothing, so others are asked.

1. A run whose message still waits stays queued, however long.
2. Otherwise the result backend, where that can be read, says that it has begun, or how it ended.
3. Otherwise it is unconfirmed a minute after its message was first seen gone, unless a worker that is asked says that
   it has it. One that it executes has begun.
4. One that its worker began or received is unconfirmed once that worker, which had answered before, has not for a
   minute, or has said for a minute that it does not have it. So events that were lost (a gap) leave no run open.
5. One that is unconfirmed is asked for for a day more, at growing distances; late news settles it.

Besides, a guarded run that was sent often, its queue empty each time, and that no worker claimed or has in hand, fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from celery import Celery
from celery.utils.log import get_logger

from beatdesk.execution.events import Event
from webapp.database.moments import moment
from webapp.database.reads import reading
from webapp.liveness import FOREIGN_WORKER_GONE_AFTER, FORGOTTEN_AFTER, WORKER_LOST_AFTER
from webapp.recorder import failure_budgets, recording
from webapp.run_store import observed, promise, statements
from webapp.run_store.observed import Observed
from webapp.run_store.promise import Consumer, Consumers, Promise
from webapp.run_store.states import Origin, RunState
from webapp.scheduler import recovery
from webapp.scheduler.backlog import Backlog
from webapp.scheduler.clock import Clock
from webapp.scheduler.foreign import outcomes
from webapp.scheduler.foreign.outcomes import Outcome
from webapp.scheduler.leader import Lease

logger = get_logger(__name__)

UNCONFIRMED_AFTER = timedelta(seconds=60)
# Which queues an exchange leads to only the broker knows, so whether a message still waits is not known either.
UNCONFIRMED_AFTER_EXCHANGE = timedelta(minutes=15)
# Runs that are read, asked for and written at once.
PAGE = 500
# Unconfirmed runs that are asked for in one look.
MAX_ASKED = 5_000


QueueOf = Callable[[Any], str | None]
# Of some runs those that each worker has received and not ended, with Celery's word for what it does with them, by its
# node name. A worker that does not answer is not in it; None when one that is there does not.
Held = Callable[[list[str]], Mapping[str, Mapping[str, str]] | None]
# Celery's word for a run that is executed.
ACTIVE = "active"


class Settling:
    """Belongs to one thread. What it remembers is only since when a message is gone."""

    def __init__(self, app: Celery, engine: sa.Engine, lease: Lease, clock: Clock) -> None:
        self._app = app
        self._engine = engine
        self._lease = lease
        self._clock = clock
        self._gone: dict[str, datetime] = {}
        self._answered_since: datetime | None = None
        self._asked_until: datetime | None = None

    def answered(self, now: datetime | None) -> None:
        """Note that workers could be asked just now; None: that they could not."""
        self._answered_since = now and (self._answered_since or now)

    def look(self, backlog: Backlog, queue_of: QueueOf, held: Held) -> list[str]:
        """Settle what can be. Gives the ids of the runs that changed. Raises what the transport or database raises.

        `held` asks the workers which of some runs they have in hand.
        """
        now = moment(self._clock.now())
        changed: list[str] = []
        before, self._gone = self._gone, {}
        with reading(self._engine) as connection:
            consumers = promise.load(connection)
        for page in self._pages(consumers):
            runs = _observed(page, queue_of, consumers)
            waiting = _waiting(runs, backlog)
            asked = [run for run in runs if run.id not in waiting]
            known = outcomes.read(self._app, asked, now)
            silent = {run: runs[run] for run in asked if not (run.id in known and _is_news(run, known[run.id]))}
            for run in silent:
                if not run.taken or run.id in before:
                    self._gone[run.id] = before.get(run.id, now)
            reasons = self._reasons(silent, known, held, consumers, now)
            changed += self._write(asked, known, reasons, now)
        return changed + self._ask_unconfirmed(now)

    def _pages(self, consumers: Consumers) -> Iterator[list[Observed]]:
        after: tuple[datetime, str] | None = None
        while page := self._read(lambda connection: observed.waiting(connection, consumers, after, PAGE)):  # noqa: B023 - called at once
            yield page
            after = (page[-1].sent_at or moment(0), page[-1].id)
        last = ""
        while page := self._read(lambda connection: observed.begun(connection, consumers, last, PAGE)):  # noqa: B023
            yield page
            last = page[-1].id

    def _read(self, work: Callable[[sa.Connection], list[Observed]]) -> list[Observed]:
        with reading(self._engine) as connection:
            return work(connection)

    def _reasons(
        self,
        silent: Mapping[Observed, str | None],
        known: dict[str, Outcome],
        held: Held,
        consumers: Consumers,
        now: datetime,
    ) -> dict[str, str]:
        """Why each run is unconfirmed of which nothing more will be heard. Adds to `known` what workers have begun."""
        gone = {run: _gone_reason(run, queue, now - self._gone.get(run.id, now)) for run, queue in silent.items()}
        doubtful = [run for run in silent if gone[run] or run.taken]
        if not doubtful:
            return {}
        in_hand = held([run.task_id for run in doubtful])
        if in_hand is None:
            return {}
        holders = {task_id: (node, state) for node, states in in_hand.items() for task_id, state in states.items()}
        found: dict[str, str] = {}
        for run in doubtful:
            if run.task_id in holders:
                # A worker has it: whether it has begun it, or has it wait.
                self._gone.pop(run.id, None)
                node, state = holders[run.task_id]
                if state == ACTIVE and run.state == RunState.QUEUED:
                    known[run.id] = Outcome(None, node)
            elif reason := gone[run]:
                found[run.id] = reason
            elif run.worker in in_hand:
                # Its worker answers, and does not have it: it ended just now, or was lost with its process.
                self._gone.setdefault(run.id, now)
            elif self._is_gone(run.worker, run.started_at or run.sent_at or now, consumers, now):
                found[run.id] = f"{_beginning(run)}, but {_worker_of(run)} does not answer any more and sent no result."
        return found

    def _is_gone(self, worker: str | None, started_at: datetime, consumers: Consumers, now: datetime) -> bool:
        last = max((one.seen_at for one in consumers if one.node == worker), default=None)
        if last is None:
            # Never, or not for a day: a busy worker of a kind that does one thing at a time does not answer.
            return now - started_at >= FORGOTTEN_AFTER
        since = self._answered_since
        return since is not None and now - max(last, since) >= FOREIGN_WORKER_GONE_AFTER

    def _write(
        self, asked: Sequence[Observed], known: Mapping[str, Outcome], reasons: Mapping[str, str], now: datetime
    ) -> list[str]:
        """Keep what is news of these runs."""
        news = [run for run in asked if run.id in known and _is_news(run, known[run.id])]
        if not (news or reasons):
            return []
        try:
            return self._apply({run.id: known[run.id] for run in news}, reasons, now)
        except sa.exc.DBAPIError as error:
            if isinstance(error, sa.exc.OperationalError):
                raise
            return self._one_by_one(news, known, reasons, now)

    def _one_by_one(
        self, news: Iterable[Observed], known: Mapping[str, Outcome], reasons: Mapping[str, str], now: datetime
    ) -> list[str]:
        """What cannot be kept of one run keeps no other from being settled."""
        changed = self._apply({}, reasons, now)
        for run in news:
            try:
                changed += self._apply({run.id: known[run.id]}, {}, now)
            except sa.exc.DBAPIError as error:
                if isinstance(error, sa.exc.OperationalError):
                    raise
                logger.warning("the result of run %s cannot be kept: %s", run.id, error.__class__.__name__)
                changed += self._apply({}, {run.id: "Its result arrived but cannot be stored."}, now)
        return changed

    def _apply(self, outcomes_: Mapping[str, Outcome], reasons: Mapping[str, str], now: datetime) -> list[str]:
        workers = {run_id: outcome.worker for run_id, outcome in outcomes_.items() if outcome.worker}
        with self._engine.begin() as connection:
            self._lease.prove(connection)
            begun = {run_id: outcome.worker for run_id, outcome in outcomes_.items() if outcome.entry is None}
            observed.begin(connection, begun, now)
            observed.name_workers(connection, workers)
            recording.apply(connection, [outcome.entry for outcome in outcomes_.values() if outcome.entry is not None])
            return [*outcomes_, *observed.give_up(connection, reasons, now)]

    def _ask_unconfirmed(self, now: datetime) -> list[str]:
        """Ask again for those whose time has come since the last look."""
        since, self._asked_until = self._asked_until or now - observed.FIRST_LOOKUP, now
        changed: list[str] = []
        runs = self._read(lambda connection: observed.unconfirmed(connection, now, since, MAX_ASKED))
        for start in range(0, len(runs), PAGE):
            page = runs[start : start + PAGE]
            changed += self._write(page, outcomes.read(self._app, page, now), {}, now)
        return changed

    def fail_never_claimed(self, backlog: Backlog, queue_of: QueueOf, held: Held) -> list[str]:
        """Fail guarded runs that were sent in vain often enough, and that no worker has in hand. Gives their ids."""
        now = moment(self._clock.now())
        with reading(self._engine) as connection:
            guarded = promise.guarded(promise.load(connection))
            candidates = statements.sent_in_vain(connection, guarded, now - WORKER_LOST_AFTER, recovery.MAX_SENDS, PAGE)
        late = [one for one in candidates if recovery.is_late(one, now)]
        queues = {one.run.id: queue_of(one.run) for one in late}
        lost = [one for one in late if (queue := queues[one.run.id]) and not backlog.waiting(queue, [one.run.id])]
        in_hand = held([one.run.id for one in lost]) if lost else None
        if in_hand is None:
            return []
        taken = {run_id for states in in_hand.values() for run_id in states}
        lost = [one for one in lost if one.run.id not in taken]
        if lost:
            with self._engine.begin() as connection:
                self._lease.prove(connection)
                statements.fail_never_claimed(connection, lost, now)
                failure_budgets.enforce(connection, [one.run.id for one in lost], [])
            logger.warning("%s runs were sent %s times and never claimed; they fail.", len(lost), recovery.MAX_SENDS)
        return [one.run.id for one in lost]


def _observed(page: Sequence[Observed], queue_of: QueueOf, consumers: Consumers) -> dict[Observed, str | None]:
    """Those of a page that are observed, each with its queue."""
    by_queue: dict[str | None, list[Consumer]] = {}
    for consumer in consumers:
        by_queue.setdefault(consumer.queue, []).append(consumer)
    queues = {(run.task, run.queue, run.options): run for run in page}
    found = {kind: queue_of(run) for kind, run in queues.items()}
    with_queue = {run: found[run.task, run.queue, run.options] for run in page}
    # What another program sent and a worker has received is in no queue.
    with_queue |= {run: None for run in page if run.origin == Origin.PROGRAM and run.taken}
    return {
        run: queue
        for run, queue in with_queue.items()
        if run.origin == Origin.PROGRAM
        or promise.promise(queue, run.sent_at, by_queue.get(queue, [])) is Promise.OBSERVED
    }


def _gone_reason(run: Observed, queue: str | None, gone_for: timedelta) -> str | None:
    """Why a run is unconfirmed that has been nowhere for so long; None while it may be under way."""
    if run.taken:
        reason = f"{_beginning(run)}, but {_worker_of(run)} does not have it any more and sent no result."
        return reason if gone_for >= FOREIGN_WORKER_GONE_AFTER else None
    if queue is None:
        reason = "It was sent to an exchange, and no result came within 15 minutes."
        return reason if gone_for >= UNCONFIRMED_AFTER_EXCHANGE else None
    reason = f"Its message has left the queue “{queue}”, and no result came within a minute."
    return reason if gone_for >= UNCONFIRMED_AFTER else None


def _beginning(run: Observed) -> str:
    return "It started" if run.state == RunState.STARTED else "It was received"


def _worker_of(run: Observed) -> str:
    return f"its worker {run.worker}" if run.worker else "its worker"


def _waiting(runs: Mapping[Observed, str | None], backlog: Backlog) -> set[str]:
    """Those whose message may still wait in the queue."""
    by_queue: dict[str | None, list[Observed]] = {}
    for run, queue in runs.items():
        if run.state != RunState.STARTED:
            by_queue.setdefault(queue, []).append(run)
    found: set[str] = set()
    for queue, queued in by_queue.items():
        ids = backlog.waiting(queue, [run.task_id for run in queued])
        found |= {run.id for run in queued if run.task_id in ids}
    return found


def _is_news(run: Observed, outcome: Outcome) -> bool:
    """Whether the backend says what is not known already.

    A run that began, or failed and is to be tried again, is no news again once it became unconfirmed after that.
    """
    settles = outcome.entry is not None and outcome.entry.event is not Event.RETRYING
    if settles or run.state == RunState.QUEUED:
        return True
    if outcome.entry is None:
        return run.state == RunState.UNCONFIRMED and run.started_at is None
    if run.state == RunState.UNCONFIRMED:
        return run.ended_at is None or outcome.entry.at > run.ended_at
    return run.state == RunState.STARTED or outcome.entry.attempt > run.attempt
