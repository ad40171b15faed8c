"""Recovery of runs that may be lost, by the leading beat, wherever they were created.

- A queued run without a confirmed message, some seconds old, is sent.
- A queued run whose message the broker lost is sent again. That it lost something is seen by a mark that is kept there
  and renewed every second: gone, or older than what was written last, and everything sent since is in doubt. Besides,
  what was sent long ago to a queue that is empty is taken for lost, until it was sent too often (see `settling`).
- A started run whose worker is gone is queued again, and after too many such losses failed.

All of it sends the same id again; the worker's claim lets one message of an id be executed. So it is done for guarded
runs alone (see `webapp.run_store.promise`): what is only observed is sent once, and settled by `settling`. Looking
at the broker happens in the publisher's thread, so that a broker that does not answer delays no schedule.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import sqlalchemy as sa
from celery.utils.log import get_logger

from webapp.database.moments import moment
from webapp.database.reads import reading
from webapp.liveness import WORKER_LOST_AFTER
from webapp.recorder import failure_budgets
from webapp.run_store import observed, promise, statements
from webapp.run_store.claims import MAX_CLAIMS
from webapp.run_store.promise import Consumer, Promise
from webapp.run_store.statements import LostClaim, Sending
from webapp.run_store.states import RunState
from webapp.scheduler.clock import Clock
from webapp.scheduler.leader import Lease
from webapp.scheduler.sending.messages import Sender
from webapp.scheduler.sending.publisher import Publisher

logger = get_logger(__name__)

CHECK_SECONDS = 1.0
# A run is sent as soon as it is created; what is still unsent after this is not on its way.
UNSENT_FOR = timedelta(seconds=3)
# After so many sendings, each found in an empty queue, a run that no worker has claimed fails.
MAX_SENDS = 5
MARK_KEY = "beatdesk:broker-mark"
# The mark is renewed every second; a message sent this much later than the mark was sent in another life of the broker.
MARK_LAG = timedelta(seconds=10)
# Processes mark runs as sent by their own clocks.
SKEW = timedelta(seconds=2)
MAX_RUNS = 1000


def is_late(sending: Sending, now: datetime) -> bool:
    """Whether a message was sent so long ago that its worker should have claimed it, if its queue is empty."""
    # Doubled with each sending: a message may also wait in the hands of a busy worker, where its queue looks empty.
    return now - sending.sent_at >= WORKER_LOST_AFTER * (1 << min(max(sending.sends, 1) - 1, 10))


def is_never_claimed(sending: Sending) -> bool:
    """Whether a run was sent so often in vain that it is not sent again; `settling` ends it."""
    return sending.sends >= MAX_SENDS and sending.claims == 0


class Recovery:
    """Looks after runs that may be lost. `check` belongs to beat's own thread, the rest to the publisher's."""

    def __init__(self, engine: sa.Engine, lease: Lease, clock: Clock, publisher: Publisher) -> None:
        self._engine = engine
        self._lease = lease
        self._clock = clock
        self._publisher = publisher
        self._mark: str | None = None
        self._next = float("-inf")

    def begin(self) -> None:
        """Forget what was known of the broker: another beat has led meanwhile. Look at it before anything is sent."""
        self._mark = None
        self._next = float("-inf")
        self._publisher.call(self._look_at_broker)

    def check(self) -> None:
        """Send what is unsent and queue what lost its worker, once a second, when nothing is on its way."""
        if self._clock.monotonic() < self._next or not self._publisher.idle:
            return
        now = moment(self._clock.now())
        with self._engine.begin() as connection:
            self._lease.prove(connection)
            changed = self._renew_lost_claims(connection, now)
            changed += statements.expire_unsent(connection, now)
            unsent = statements.unsent(connection, now - UNSENT_FOR, MAX_RUNS, self._publisher.resting)
        self._publisher.announce(changed)
        if len(unsent) < MAX_RUNS:
            self._next = self._clock.monotonic() + CHECK_SECONDS
        self._publisher.submit(unsent)
        self._publisher.call(self._look_at_broker)

    def _renew_lost_claims(self, connection: sa.Connection, now: datetime) -> list[str]:
        """Gives the ids of the runs that it changed."""
        lost = statements.lost_claims(connection, now, MAX_RUNS)
        if not lost:
            return []
        consumers = promise.load(connection)
        failed: dict[str, str] = {}
        for claim in lost:
            if claim.claims >= MAX_CLAIMS + claim.run.attempt:
                failed[claim.run.id] = f"WorkerLost: its worker was lost {claim.claims} times"
            elif not claim.acknowledged_late:
                failed[claim.run.id] = f"WorkerLost: {claim.worker or 'its worker'} was lost, {_NOT_LATE}"
            elif self._promise(claim, consumers) is Promise.OBSERVED:
                failed[claim.run.id] = f"WorkerLost: {claim.worker or 'its worker'} was lost, {_MAY_BE_TAKEN}"
        again = [claim.run.id for claim in lost if claim.run.id not in failed]
        if again:
            logger.warning("%s runs have lost their worker and are sent again.", len(again))
            statements.begin_again(connection, again, "its worker was lost")
        for run_id, error in failed.items():
            statements.give_up(connection, run_id, RunState.STARTED, error, now)
        failure_budgets.enforce(connection, list(failed), [])
        return [claim.run.id for claim in lost]

    def _promise(self, claim: LostClaim, consumers: promise.Consumers) -> Promise:
        queue = self._publisher.queue_of(claim.run)
        if queue is None or claim.sent_at is None:
            return promise.promise(queue, claim.sent_at, consumers)
        # That it was claimed says that a worker which claims was there.
        mine = Consumer(queue, claim.worker or "", claims=True, seen_at=claim.sent_at)
        return promise.promise(queue, claim.sent_at, [*consumers, mine])

    def _look_at_broker(self, sender: Sender) -> None:
        self._publisher.mark()
        client = sender.redis()
        if client is not None:
            sender.mark()
            found = client.get(MARK_KEY)
            self._compare(found.decode() if found is not None else None)
            if not self._lease.fresh():
                return
            mark = moment(self._clock.now()).isoformat()
            client.set(MARK_KEY, mark)
            self._mark = mark
        self._look_at_queues(sender)

    def _compare(self, found: str | None) -> None:
        """See whether the broker still knows what it knew when the mark was written last."""
        if found is not None and found == self._mark:
            return
        since = None if found is None else datetime.fromisoformat(found) - SKEW
        if self._mark is None and since is not None:
            # This beat has only begun to lead; the mark is the former leader's last one, or one from before a loss.
            with reading(self._engine) as connection:
                newest = statements.newest_sent(connection)
            if newest is None or newest <= since + MARK_LAG:
                return
        with self._engine.begin() as connection:
            self._lease.prove(connection)
            many = statements.forget_sent(connection, promise.guarded(promise.load(connection)), since)
        if many:
            logger.warning("The broker lost its messages; %s runs are published again.", many)

    def _look_at_queues(self, sender: Sender) -> None:
        now = moment(self._clock.now())
        with reading(self._engine) as connection:
            consumers = promise.load(connection)
            guarded = promise.guarded(consumers)
            candidates = statements.sent_long_ago(connection, guarded, now - WORKER_LOST_AFTER, MAX_RUNS)
        late = [one for one in candidates if is_late(one, now) and not is_never_claimed(one)]
        depths: dict[str, int] = {}
        lost: list[Sending] = []
        elsewhere: dict[str, str] = {}
        for sending in late:
            name = self._publisher.queue_of(sending.run)
            if name is None:
                continue
            if promise.promise(name, sending.sent_at, consumers) is Promise.OBSERVED:
                elsewhere[sending.run.id] = name
                continue
            if name not in depths:
                depths[name] = sender.depth(name)
            if depths[name] == 0:
                lost.append(sending)
        self._send_again([one.run.id for one in lost], elsewhere)

    def _send_again(self, lost: list[str], elsewhere: dict[str, str]) -> None:
        if lost or elsewhere:
            with self._engine.begin() as connection:
                self._lease.prove(connection)
                statements.forget_these(connection, lost)
                # Sent before its queue was recorded.
                observed.name_queues(connection, elsewhere)
        if lost:
            logger.warning("%s runs wait although their queues are empty; they are sent again.", len(lost))


_NOT_LATE = "and it is not sent again, because its task does not have acks_late"
_MAY_BE_TAKEN = "and it is not sent again, because workers that do not claim runs may take from its queue"
