"""One beat, without Celery's scheduler around it: `step` does what is due and says how long to wait.

A step, in this order:

1. Leading, and something is due: create its runs and hand them to the publisher.
2. Twice a second, or when somebody announced a change: keep or take the lease, load what changed, release held runs.

With nothing due, a step between two looks touches no database.
"""

from __future__ import annotations

from celery import Celery
from celery.utils.log import get_logger
from sqlalchemy.exc import SQLAlchemyError

from webapp.runs import store
from webapp.scheduler import progress
from webapp.scheduler.agenda import Agenda
from webapp.scheduler.clock import Clock
from webapp.scheduler.database import moment, open_engine
from webapp.scheduler.dispatch import BATCH, dispatch
from webapp.scheduler.leader import RENEW_EVERY, Lease, LeaseLost
from webapp.scheduler.listener import Listener
from webapp.scheduler.presence import Presence
from webapp.scheduler.publisher import Publisher
from webapp.scheduler.schedules import Schedules

logger = get_logger(__name__)

LOOK_EVERY = 0.5
# Seconds between attempts while the database is away: the first and the longest.
FIRST_RETRY, LONGEST_RETRY = 0.1, 2.0
NOTES_AT_ONCE = 1000
HELD_AT_ONCE = 1000


class Core:
    """Everything of a beat process. Not thread-safe, but for `listener.wake`."""

    def __init__(self, app: Celery, url: str, redis_url: str | None = None, clock: Clock | None = None) -> None:
        self.engine = open_engine(url)
        self.clock = clock or Clock()
        self.presence = Presence()
        self.lease = Lease(self.presence.id, self.clock)
        self.agenda = Agenda()
        self.schedules = Schedules(self.agenda, lambda name: name in app.tasks)
        self.publisher = Publisher(app, self.engine, self.lease.fresh)
        self.listener = Listener(redis_url)
        self._next_look = float("-inf")
        self._next_lease = float("-inf")
        self._retry_after = 0.0
        self._away = False

    def step(self, woken: bool = False) -> float:
        """Do what is due. Returns after how many seconds to call again; sooner when woken."""
        try:
            if self.lease.held:
                self._fire()
            if woken or self.clock.monotonic() >= self._next_look:
                self._look()
                self._next_look = self.clock.monotonic() + LOOK_EVERY
        except LeaseLost:
            self._stand_by()
        except SQLAlchemyError as error:
            return self._database_away(error)
        if self._away:
            self._away, self._retry_after = False, 0.0
            logger.warning("The database is back.")
        return self._until_next()

    def close(self) -> None:
        """Send what waits, give the lease back, leave."""
        self.listener.close()
        self.publisher.close(3.0)
        try:
            with self.engine.begin() as connection:
                if self.lease.held:
                    self.lease.give_back(connection)
                self.presence.leave(connection)
        except SQLAlchemyError as error:
            logger.warning("The lease could not be given back: %s", error.__class__.__name__)
        self.engine.dispose()

    def _until_next(self) -> float:
        wait = self._next_look - self.clock.monotonic()
        if self.lease.held:
            at = self.agenda.next_at()
            if at is not None:
                wait = min(wait, at - self.clock.now())
        return max(wait, 0.0)

    def _fire(self) -> None:
        """Create the runs of everything that is due, batch by batch, and keep the lease meanwhile."""
        while due := self.agenda.pop_due(self.clock.now(), BATCH):
            try:
                outcome = dispatch(self.engine, self.lease, due, self.clock.now())
            finally:
                for entry in due:
                    self.agenda.put(entry)
            self.publisher.submit(outcome.to_send)
            for schedule_id in outcome.finished:
                self.agenda.remove(schedule_id)
            if self.clock.monotonic() >= self._next_lease:
                self._keep_lease()

    def _look(self) -> None:
        if not self.schedules.loaded:
            self.schedules.load(self.engine, self.clock.now())
            self._acknowledge()
        if self.clock.monotonic() >= self._next_lease:
            self._keep_lease()
        self._apply_changes()
        if self.lease.held:
            self._release_held()

    def _keep_lease(self) -> None:
        with self.engine.begin() as connection:
            held = self.lease.held
            leads = self.lease.renew(connection) if held else self.lease.take(connection)
            if not self.presence.seen(connection, leads):
                self.presence.announce(connection)
        if leads and not held:
            logger.warning("This beat leads now, with token %s.", self.lease.token)
            self._begin_to_lead()
        elif held and not leads:
            self._stand_by()
        self._next_lease = self.clock.monotonic() + (RENEW_EVERY if leads else LOOK_EVERY)

    def _begin_to_lead(self) -> None:
        pass

    def _stand_by(self) -> None:
        self.lease.token = None
        logger.warning("Another beat leads; this one stands by.")

    def _apply_changes(self) -> None:
        change = self.schedules.look(self.engine)
        if change is None:
            return
        if self.lease.held and self.schedules.unfired_before(change):
            self._fire()
        self.schedules.apply(change, self.clock.now())
        self._acknowledge()

    def _acknowledge(self) -> None:
        notes = self.schedules.notes
        with self.engine.begin() as connection:
            if self.lease.held and notes:
                chosen = list(notes)[:NOTES_AT_ONCE]
                progress.note(connection, [notes[key] for key in chosen])
                for key in chosen:
                    del notes[key]
            self.presence.applied(connection, self.schedules.revision, len(self.agenda))

    def _release_held(self) -> None:
        now = moment(self.clock.now())
        with self.engine.begin() as connection:
            self.lease.prove(connection)
            released = store.release_held(connection, now, HELD_AT_ONCE)
        self.publisher.submit(released)

    def _database_away(self, error: SQLAlchemyError) -> float:
        if not self._away:
            self._away = True
            logger.warning("The database is away: %s", error)
        self._retry_after = min(max(self._retry_after * 2, FIRST_RETRY), LONGEST_RETRY)
        return self._retry_after
