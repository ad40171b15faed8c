"""What the leading beat does so that no run is lost, whoever created it.

- A queued run without a confirmed message, some seconds old, is sent.
- A queued run whose message the broker lost is sent again. That it lost something is seen by a mark that is kept there
  and renewed every second: gone, or older than what was written last, and everything sent since is in doubt. Besides,
  what was sent long ago to a queue that is empty is taken for lost.
- A started run whose worker is gone is queued again, and after too many such losses failed.

All of it sends the same id again; the worker's claim lets one message of an id be executed. Looking at the broker
happens in the publisher's thread, so that a broker that does not answer delays no schedule.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import sqlalchemy as sa
from celery.utils.log import get_logger

from webapp.runs import store
from webapp.runs.claims import CLAIM_TIMEOUT, MAX_CLAIMS
from webapp.scheduler.clock import Clock
from webapp.scheduler.database import moment, reading
from webapp.scheduler.leader import Lease
from webapp.scheduler.messages import Sender
from webapp.scheduler.publisher import Publisher
from webapp.schedules import budgets

logger = get_logger(__name__)

EVERY = 1.0
# Whoever created a run sends it at once; what is still unsent after this is not on its way.
UNSENT_FOR = timedelta(seconds=3)
# Doubled with each sending: a message may also wait in the hands of a busy worker, where its queue looks empty.
LOST_AFTER = timedelta(seconds=30)
MARK_KEY = "beatdesk:broker-mark"
# The mark is renewed every second; a message sent this much later than the mark was sent in another life of the broker.
MARK_LAG = timedelta(seconds=10)
# Who marks a run as sent goes by its own clock.
SKEW = timedelta(seconds=2)
AT_ONCE = 1000


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
            changed += store.expire_unsent(connection, now)
            unsent = store.unsent(connection, now - UNSENT_FOR, AT_ONCE, self._publisher.resting)
        self._publisher.tell(changed)
        if len(unsent) < AT_ONCE:
            self._next = self._clock.monotonic() + EVERY
        self._publisher.submit(unsent)
        self._publisher.call(self._look_at_broker)

    def _renew_lost_claims(self, connection: sa.Connection, now: datetime) -> list[str]:
        """Gives the ids of the runs that it changed."""
        lost = store.lost_claims(connection, now - CLAIM_TIMEOUT, AT_ONCE)
        again = [run.id for run in lost if run.claims < MAX_CLAIMS + run.attempt]
        if again:
            logger.warning("%s runs have lost their worker and are sent again.", len(again))
            store.begin_again(connection, again, "its worker was lost")
        for run in lost:
            if run.claims >= MAX_CLAIMS + run.attempt:
                store.give_up(connection, run, now)
                budgets.look(connection, [run.id], [])
        return [run.id for run in lost]

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
                newest = store.newest_sent(connection)
            if newest is None or newest <= since + MARK_LAG:
                return
        with self._engine.begin() as connection:
            self._lease.prove(connection)
            many = store.forget_sent(connection, since)
        if many:
            logger.warning("The broker has lost what it was sent; %s runs are sent again.", many)

    def _look_at_queues(self, sender: Sender) -> None:
        now = moment(self._clock.now())
        with reading(self._engine) as connection:
            candidates = store.sent_long_ago(connection, now - LOST_AFTER, AT_ONCE)
        depths: dict[str, int] = {}
        lost: list[str] = []
        for run, sent_at, sends in candidates:
            if now - sent_at < LOST_AFTER * 2 ** min(max(sends, 1) - 1, 10):
                continue
            name = sender.queue_of(run)
            if name is None:
                continue
            if name not in depths:
                depths[name] = sender.depth(name)
            if depths[name] == 0:
                lost.append(run.id)
        if lost:
            with self._engine.begin() as connection:
                self._lease.prove(connection)
                store.forget_these(connection, lost)
            logger.warning("%s runs wait although their queues are empty; they are sent again.", len(lost))
