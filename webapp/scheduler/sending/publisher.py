"""Sends what was committed, in a thread of its own: a broker that is away or slow delays no occurrence.

1. Take a batch of committed runs.
2. Make sure that this beat still leads.
3. Publish the messages of those that are guarded (see `webapp.run_store.promise`).
4. Have the broker answer, note that the others are sent, then publish them: once, whatever breaks meanwhile.
5. When nothing more waits, or enough was sent, mark what was sent of the guarded ones, in bulk.

A run whose message cannot be made, or that the broker refuses, fails by itself. When the broker is away, the batch is
dropped and not kept: its runs are queued and unsent in the database, from where they are sent again when the broker is
back (see `recovery`). A guarded run sent twice has one id and is executed once.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import sqlalchemy as sa
from celery import Celery
from celery.utils.log import get_logger

from webapp.database.engine import now
from webapp.database.reads import reading
from webapp.messaging.producers import concerns_connection, describe_error
from webapp.recorder import failure_budgets
from webapp.run_store import observed, promise, statements
from webapp.run_store.promise import Consumers, Promise
from webapp.run_store.statements import Sendable, Target
from webapp.scheduler.announcer import Announcer
from webapp.scheduler.leader import LeaseLost
from webapp.scheduler.sending.messages import Ahead, Sender

logger = get_logger(__name__)

# Runs that may wait here; more are left to recovery, so that a broker that is away does not fill the memory.
MAX_WAITING = 50_000
MARK_EVERY = 20_000
# Seconds between two attempts while the broker is away.
RETRY_AFTER = 0.5
# Seconds for which what is known of the consumers is kept; it is found out anew every ten.
CONSUMERS_SECONDS = 2.0


class Publisher:
    """The sending thread. `may_send` is asked right before each publication."""

    def __init__(
        self, app: Celery, engine: sa.Engine, may_send: Callable[[], bool], redis_url: str | None = None
    ) -> None:
        self._engine = engine
        self._may_send = may_send
        self._sender = Sender(app)
        self._announcer = Announcer(redis_url)
        self._todo: deque[Sequence[Sendable] | Callable[[Sender], None]] = deque()
        self._waiting = 0
        self._sent: list[str] = []
        self._changed = threading.Condition()
        self._busy = False
        self._stopping = False
        self._away_until = 0.0
        self._thread: threading.Thread | None = None
        self._consumers: Consumers = ()
        self._consumers_until = float("-inf")
        self._refusal = ""
        self.broker_away = False
        self.published = 0

    @property
    def idle(self) -> bool:
        """Whether nothing waits or is being sent or marked, and the broker may be tried."""
        with self._changed:
            return not (self._todo or self._busy or self._sent) and time.monotonic() >= self._away_until

    @property
    def waiting(self) -> int:
        """How many runs wait to be sent."""
        return self._waiting

    def queue_of(self, run: Sendable) -> str | None:
        """The queue that a run's message goes to, None where that is not known. Asks no server."""
        return self._sender.queue_of(run)

    @property
    def resting(self) -> list[Target]:
        """Targets that the broker has no queue for; none of their runs is tried now."""
        return self._sender.resting

    def submit(self, batch: Sequence[Sendable]) -> None:
        """Send these runs soon; what finds no room is left to recovery."""
        if not batch:
            return
        with self._changed:
            self._start()
            if self._waiting + len(batch) <= MAX_WAITING and not self._stopping:
                self._todo.append(batch)
                self._waiting += len(batch)
                self._changed.notify_all()

    def call(self, work: Callable[[Sender], None]) -> None:
        """Have something else done with the broker, after what was submitted before, and before what comes later.

        It may raise what the transport raises.
        """
        with self._changed:
            if not self._stopping:
                self._start()
                self._todo.append(work)
                self._changed.notify_all()

    def mark(self) -> None:
        """Check that Redis still belongs to this installation. For the publisher's thread."""
        self._announcer.mark()

    def revoke(self, to_end: Sequence[str], to_drop: Sequence[str]) -> None:
        """Ask the workers to end runs, and to drop the messages of others that have ended already."""
        if to_end:
            self.call(lambda sender: sender.revoke(to_end, terminate=True))
        if to_drop:
            self.call(lambda sender: sender.revoke(to_drop, terminate=False))

    def announce(self, run_ids: Sequence[str]) -> None:
        """Announce to live pages runs that were made and are not sent: held, skipped, missed."""
        if run_ids:
            self.call(lambda _: self._announcer.announce(run_ids))

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="beat-publisher", daemon=True)
            self._thread.start()

    def close(self, seconds: float) -> None:
        """Send what waits, for at most so many seconds, then stop."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(seconds)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not (self._todo or self._stopping or self._sent):
                    self._changed.wait()
                work = self._todo.popleft() if self._todo else None
                if work is None and not self._sent:
                    break
                self._busy = True
                if work is not None and not callable(work):
                    self._waiting -= len(work)
            self._do(work)
            with self._changed:
                self._busy = False
        self._sender.close()

    def _do(self, work: Sequence[Sendable] | Callable[[Sender], None] | None) -> None:
        if callable(work):
            # A look at the broker is compared with the database, which must know what was sent.
            self._mark()
            self._with_broker(partial(work, self._sender))
        elif work:
            self._with_broker(partial(self._send, work))
        if not self._todo or len(self._sent) >= MARK_EVERY:
            self._mark()

    def _send(self, runs: Sequence[Sendable]) -> None:
        once = self._observed(runs)
        if not once:
            self._sender.send(runs, self._may_send, self._sent)
            return
        self._sender.send(_those(runs, lambda run: run.id not in once), self._may_send, self._sent)
        self._send_once(_those(runs, lambda run: run.id in once), once)

    def _observed(self, runs: Sequence[Sendable]) -> dict[str, str | None]:
        """The queue of each run that is not guarded."""
        self._know_consumers()
        promises: dict[tuple[Any, ...], tuple[str | None, Promise]] = {}
        found: dict[str, str | None] = {}
        for run in runs:
            kind = (run.task, run.queue, run.options)
            if kind not in promises:
                queue = self.queue_of(run)
                promises[kind] = queue, promise.promise(queue, None, self._consumers)
            queue, promised = promises[kind]
            if promised is Promise.OBSERVED:
                found[run.id] = queue
        return found

    def _know_consumers(self) -> None:
        if time.monotonic() >= self._consumers_until:
            with reading(self._engine) as connection:
                self._consumers = promise.load(connection)
            self._consumers_until = time.monotonic() + CONSUMERS_SECONDS

    def _send_once(self, runs: Sequence[Sendable], queues: Mapping[str, str | None]) -> None:
        """Publish runs that no worker claims. What is in doubt counts as sent; the rest is taken back."""
        self._sender.ready()
        noted_at = now()
        with self._engine.begin() as connection:
            noted = observed.note_sending(connection, queues, noted_at)
        sent: list[str] = []
        begun: set[str] = set()
        try:
            self._sender.send(_those(runs, lambda run: run.id in noted), self._may_send, sent, begun)
        finally:
            if untouched := noted.difference(begun):
                with self._engine.begin() as connection:
                    observed.take_back(connection, sorted(untouched), noted_at)
            self.published += len(sent)
            self._announcer.announce(sorted(noted))

    def _with_broker(self, work: Callable[[], None]) -> None:
        if time.monotonic() < self._away_until or not self._may_send():
            return
        try:
            work()
        except LeaseLost:
            return
        except sa.exc.SQLAlchemyError as error:
            logger.info("left for later, the database is away: %s", error.__class__.__name__)
            return
        except Exception as error:  # noqa: BLE001 - this thread must live
            self._sender.close()
            if concerns_connection(error):
                self._broker_away(error)
            else:
                self._refused(error)
            return
        if self.broker_away:
            self.broker_away = False
            logger.warning("The broker is back.")

    def _refused(self, error: Exception) -> None:
        """Something other than sending went wrong, such as asking the workers. It may do so every second."""
        if (text := describe_error(error)) != self._refusal:
            self._refusal = text
            logger.error("The broker refused a request, or it could not be made: %s", text, exc_info=error)

    def _broker_away(self, error: Exception) -> None:
        self._away_until = time.monotonic() + RETRY_AFTER
        if not self.broker_away:
            self.broker_away = True
            logger.warning("The broker is away: %s. Runs are kept and sent when it is back.", error)

    def _mark(self) -> None:
        self._fail_unsendable()
        self._note_undelivered()
        if not self._sent:
            return
        sent = self._sent[:]
        self._sent.clear()
        self.published += len(sent)
        try:
            with self._engine.begin() as connection:
                statements.mark_sent(connection, sent, now())
        except sa.exc.SQLAlchemyError as error:
            # They stay unsent in the database and are sent again, with the same ids.
            logger.info("%s sent runs could not be marked: %s", len(sent), error.__class__.__name__)
        else:
            self._announcer.announce(sent)

    def _fail_unsendable(self) -> None:
        reasons = dict(self._sender.unsendable)
        if not reasons:
            return
        self._sender.unsendable.clear()
        try:
            with self._engine.begin() as connection:
                failed = statements.fail_unsendable(connection, reasons, now())
                failure_budgets.enforce(connection, failed, [])
        except sa.exc.SQLAlchemyError as error:
            # They are found again among the unsent.
            logger.info("%s runs that cannot be sent stay: %s", len(reasons), error.__class__.__name__)
            return
        for run_id in failed:
            logger.warning("Run %s cannot be sent and has failed: %s", run_id, reasons[run_id])
        self._announcer.announce(failed)

    def _note_undelivered(self) -> None:
        reasons = dict(self._sender.undelivered)
        if not reasons:
            return
        self._sender.undelivered.clear()
        try:
            with self._engine.begin() as connection:
                noted = statements.note_undelivered(connection, reasons)
        except sa.exc.SQLAlchemyError as error:
            logger.info("why runs are not sent could not be noted: %s", error.__class__.__name__)
        else:
            self._announcer.announce(noted)


def _those(runs: Sequence[Sendable], chosen: Callable[[Sendable], bool]) -> Sequence[Sendable]:
    """Some of a batch, which go ahead of others as the batch does."""
    some = [run for run in runs if chosen(run)]
    return Ahead(some) if isinstance(runs, Ahead) else some
