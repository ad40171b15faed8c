"""Fires what is due, in batches; keeps a schedule that cannot be fired from stopping the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import sqlalchemy as sa
from celery.utils.log import get_logger
from sqlalchemy.exc import DBAPIError

from webapp.schedule_store.entries import Entry
from webapp.scheduler.clock import Clock
from webapp.scheduler.dispatch import BATCH, Outcome, dispatch
from webapp.scheduler.leader import Lease
from webapp.scheduler.loaded_schedules import Schedules
from webapp.scheduler.plan import Plan, plan
from webapp.scheduler.sending.messages import Ahead
from webapp.scheduler.sending.publisher import Publisher

logger = get_logger(__name__)

# PostgreSQL's codes for a lock that another transaction holds for too long, and for a deadlock.
LOCKED = frozenset({"55P03", "40P01"})
LOCKED_RETRY_SECONDS = 1.0


class Firing:
    """Creates the runs of due schedules. `tally` counts them, for the library's own columns."""

    def __init__(
        self, engine: sa.Engine, lease: Lease, clock: Clock, schedules: Schedules, publisher: Publisher
    ) -> None:
        self._engine = engine
        self._lease = lease
        self._clock = clock
        self._agenda = schedules.agenda
        self._schedules = schedules
        self._publisher = publisher
        self._postponed: dict[int, float] = {}
        self.tally: dict[int, int] = {}

    def fire(self, go_on: Callable[[], bool]) -> None:
        """Fire everything that is due, or until `go_on`, which is called after each batch, returns False.

        Raises LeaseLost, or the database's errors.
        """
        while due := self._agenda.pop_due(self._clock.now(), BATCH):
            now = self._clock.now()
            try:
                # What ends with this firing is switched off in the same transaction, which may have to wait for an
                # editor who holds that row; the others do not wait with it.
                plans = [made for entry in due if (made := self._plan(entry, now)) is not None]
                ending = [made for made in plans if made.next_due is None]
                self._dispatch([made for made in plans if made.next_due is not None], now)
                self._dispatch(ending, now)
            finally:
                for entry in due:
                    # Not what was given up or is finished.
                    if self._agenda.entries.get(entry.id) is entry:
                        self._agenda.put(entry, self._postponed.pop(entry.id, 0.0))
            if not go_on():
                return

    def _plan(self, entry: Entry, now: float) -> Plan | None:
        try:
            return plan(entry, now, pauses=self._schedules.pauses)
        except (ValueError, ArithmeticError, OverflowError) as error:
            self._schedules.give_up(entry, f"its next due time cannot be found: {error}")
            return None

    def _dispatch(self, plans: Sequence[Plan], now: float) -> None:
        if not plans:
            return
        try:
            outcome = dispatch(self._engine, self._lease, plans, now)
        except DBAPIError as error:
            if not _of_a_row(error):
                raise
            self._one_by_one(plans, now, error)
        else:
            self._account(outcome)

    def _one_by_one(self, plans: Sequence[Plan], now: float, error: DBAPIError) -> None:
        """A row spoils the batch: find it by halves."""
        if len(plans) > 1:
            middle = len(plans) // 2
            self._dispatch(plans[:middle], now)
            self._dispatch(plans[middle:], now)
            return
        entry = plans[0].entry
        if _is_locked(error):
            logger.warning("Schedule %s (%s) is held by another transaction; tried again.", entry.id, entry.name)
            self._postponed[entry.id] = now + LOCKED_RETRY_SECONDS
        else:
            self._schedules.give_up(entry, f"its run cannot be created: {error.orig}")

    def _account(self, outcome: Outcome) -> None:
        self._publisher.submit(outcome.to_send)
        self._publisher.submit(Ahead(outcome.ahead))
        self._publisher.announce(outcome.unsent)
        self._publisher.revoke(outcome.to_end, outcome.to_drop)
        for schedule_id, runs in outcome.fired.items():
            if runs:
                self.tally[schedule_id] = self.tally.get(schedule_id, 0) + runs
        for finished in outcome.finished:
            self._agenda.remove(finished.schedule_id)


def _is_locked(error: DBAPIError) -> bool:
    return getattr(error.orig, "sqlstate", None) in LOCKED


def _of_a_row(error: DBAPIError) -> bool:
    """Whether the error is about what was written, and not about the database being away."""
    if _is_locked(error):
        return True
    return not error.connection_invalidated and isinstance(error, (sa.exc.DataError, sa.exc.IntegrityError))
