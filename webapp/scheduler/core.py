"""One beat, without Celery's scheduler around it: `step` does what is due and says how long to wait.

A step, in this order:

1. Leading, and something is due: create its runs and hand them to the publisher; a pause is over: catch up a batch
   of what came due in it.
2. Twice a second, or when a change is announced: keep or take the lease, load what changed, release held runs,
   look for lost ones.

With nothing due, a step between two looks touches no database. The lease is taken only after everything was loaded, so
that a beat that starts does not keep another one from leading.
"""

from __future__ import annotations

from itertools import islice

from celery import Celery
from celery.utils.log import get_logger
from sqlalchemy.exc import SQLAlchemyError

from webapp.database.dialects import is_sqlite
from webapp.database.moments import moment
from webapp.database.postgresql import trusted_for
from webapp.database.reads import reading
from webapp.liveness import BEAT_STANDBY_INTERVAL, LEASE_RENEWAL
from webapp.run_store import statements
from webapp.scheduler import install, progress
from webapp.scheduler.agenda import Agenda
from webapp.scheduler.clock import Clock
from webapp.scheduler.connections import database_clock, open_engine
from webapp.scheduler.firing import Firing
from webapp.scheduler.foreign.observer import Observer
from webapp.scheduler.leader import Lease, LeaseLost
from webapp.scheduler.listener import Listener
from webapp.scheduler.loaded_schedules import Schedules
from webapp.scheduler.presence import Presence
from webapp.scheduler.recovery import Recovery
from webapp.scheduler.restored import RestoreCheck
from webapp.scheduler.resuming import Resuming
from webapp.scheduler.sending.publisher import Publisher
from webapp.task_catalogue.registry import announced, rule_for

logger = get_logger(__name__)

# Seconds between attempts while the database is away: the first and the longest.
MIN_RETRY_SECONDS, MAX_RETRY_SECONDS = 0.1, 2.0
# Seconds until the next check whether the runs that were caught up have been sent.
RESUME_POLL_SECONDS = 0.05
# Seconds within which a step checks only once that the database is there.
STEP_SECONDS = 0.05
MAX_NOTES = 1000
# Schedules counted in one transaction, and such transactions in a look. What is due waits for one of them.
MAX_TALLIED, MAX_TALLIES = 100, 10
MAX_RELEASED = 1000


class Core:
    """Everything of a beat process. Belongs to one thread.

    It goes by the database's clock, unless it is given one of its own.
    """

    def __init__(self, app: Celery, url: str, redis_url: str | None = None, clock: Clock | None = None) -> None:
        self._app = app
        self.engine = open_engine(url)
        self.clock = clock or Clock()
        self._own_clock = clock is not None or is_sqlite(self.engine)
        self.presence = Presence()
        self.lease = Lease(self.presence.id, self.clock)
        self.agenda = Agenda()
        self.schedules = Schedules(
            self.agenda,
            lambda name: name in app.tasks or name in announced(),
            rule_for,
        )
        self.publisher = Publisher(app, self.engine, self.lease.fresh, redis_url)
        self.firing = Firing(self.engine, self.lease, self.clock, self.schedules, self.publisher)
        self.resuming = Resuming(self.engine, self.lease, self.clock, self.schedules, self.publisher, self.firing.tally)
        self.recovery = Recovery(self.engine, self.lease, self.clock, self.publisher)
        self.restored = RestoreCheck(self.engine, self.lease, redis_url)
        self.observer = Observer(app, self.engine, self.lease, self.clock, redis_url)
        self.listener = Listener(redis_url)
        self._next_look = float("-inf")
        self._next_lease = float("-inf")
        self._next_eta: float | None = None
        self._retry_after = 0.0
        self._away = False
        self._resuming = False

    def step(self, woken: bool = False) -> float:
        """Do what is due. Returns after how many seconds to call again; sooner when a change is announced."""
        token = trusted_for.set(STEP_SECONDS)
        try:
            self._step(woken)
        except LeaseLost:
            self._stand_by()
        except SQLAlchemyError as error:
            return self._database_away(error)
        finally:
            trusted_for.reset(token)
        if self._away:
            self._away, self._retry_after = False, 0.0
            logger.warning("The database is back.")
        return self._until_next()

    def close(self) -> None:
        """Send what waits, give the lease back, leave."""
        self.listener.close()
        self.observer.close()
        self.publisher.close(3.0)
        try:
            with self.engine.begin() as connection:
                if self.lease.held:
                    progress.tally(connection, self.firing.tally, self.clock.now())
                    self.lease.give_back(connection)
                self.presence.leave(connection)
        except SQLAlchemyError as error:
            logger.warning("The lease could not be given back: %s", error.__class__.__name__)
        else:
            self.listener.announce("a beat has stopped")
        self.engine.dispose()

    def _step(self, woken: bool) -> None:
        if self._own_clock:
            self._adjust_clock(self.clock.wall(), self.clock.monotonic(), 0.0)
        if self.lease.held:
            self.firing.fire(self._may_go_on)
            self._resuming = self.resuming.step()
            if self._next_eta is not None and self.clock.now() >= self._next_eta:
                self._release_held()
        if woken or self.clock.monotonic() >= self._next_look:
            self._look()
            self._next_look = self.clock.monotonic() + BEAT_STANDBY_INTERVAL

    def _until_next(self) -> float:
        wait = self._next_look - self.clock.monotonic()
        if self.lease.held:
            if self._resuming:
                wait = min(wait, RESUME_POLL_SECONDS) if self.resuming.held_up else 0.0
            now = self.clock.now()
            for at in (self.agenda.next_at(), self._next_eta):
                if at is not None:
                    wait = min(wait, at - now)
        return max(wait, 0.0)

    def _look(self) -> None:
        if not self.schedules.loaded:
            self._load()
        if self.clock.monotonic() >= self._next_lease:
            self._keep_lease()
        self._apply_changes()
        # Each of these waits for the disk; what comes due meanwhile waits for one of them, not for all.
        for part in (self._release_held, self._write_notes, self._write_tallies, self.recovery.check):
            self._fire()
            if self.lease.held:
                part()
        if self.lease.held and self.publisher.idle:
            self.publisher.call(lambda _sender: self.restored.remember())

    def _fire(self) -> None:
        if self.lease.held:
            self.firing.fire(self._may_go_on)

    def _load(self) -> None:
        if not self._own_clock:
            self._adjust_clock(*database_clock(self.engine, self.clock))
        self.schedules.load(self.engine, self.clock.now())
        with self.engine.begin() as connection:
            if not self.presence.seen(connection, self.lease.held):
                self.presence.announce(connection)
            self.presence.applied(connection, self.schedules.revision, len(self.agenda))

    def _may_go_on(self) -> bool:
        """Between two batches: however much is due, the lease is kept, and edits are looked for in time."""
        if self.clock.monotonic() >= self._next_lease:
            self._keep_lease()
        return self.lease.held and self.clock.monotonic() < self._next_look

    def _keep_lease(self) -> None:
        held = self.lease.held
        with self.engine.begin() as connection:
            if not held:
                self.restored.look(connection)
            leads = self.lease.renew(connection) if held else self.lease.take(connection)
            if not self.presence.seen(connection, leads):
                self.presence.announce(connection)
                self.presence.applied(connection, self.schedules.revision, len(self.agenda))
        self._next_lease = self.clock.monotonic() + (LEASE_RENEWAL if leads else BEAT_STANDBY_INTERVAL)
        if not self._own_clock:
            self._adjust_clock(*database_clock(self.engine, self.clock))
        if leads and not held:
            logger.warning("This beat leads now, with token %s.", self.lease.token)
            self._begin_to_lead()
        elif held and not leads:
            self._stand_by()

    def _begin_to_lead(self) -> None:
        """Go on where the former leader stopped, with everything that was committed until now in force."""
        with self.engine.begin() as connection:
            self.presence.forget_others(connection)
        self.restored.compare()
        self._apply_changes()
        self.schedules.resume(self.engine, self.clock.now())
        self.firing.tally.clear()
        self.recovery.begin()
        install.install(self._app, self.engine, self.lease)
        self._apply_changes()

    def _stand_by(self) -> None:
        self.lease.token = None
        self._next_lease = self.clock.monotonic() + BEAT_STANDBY_INTERVAL
        logger.warning("Another beat leads; this one stands by.")

    def _apply_changes(self) -> None:
        change = self.schedules.look(self.engine)
        if change is None:
            return
        if self.schedules.unfired_before(change):
            self._fire()
        self.schedules.apply(change, self.clock.now())
        self._write_notes(acknowledge=True)

    def _write_notes(self, *, acknowledge: bool = False) -> None:
        """Acknowledge what is in force; leading, write what is worth knowing but decides nothing.

        A part at a time, so that nothing due waits for it.
        """
        leads = self.lease.held
        finished = self.schedules.finished(MAX_NOTES) if leads else []
        notes = self.schedules.unwritten(MAX_NOTES) if leads else []
        if not (notes or finished or acknowledge):
            return
        with self.engine.begin() as connection:
            if acknowledge:
                self.presence.applied(connection, self.schedules.revision, len(self.agenda))
            if leads:
                self.lease.prove(connection)
            progress.note(connection, notes)
            progress.disable(connection, finished)
        self.schedules.forget(finished)
        self.schedules.written(notes)

    def _write_tallies(self) -> None:
        """Count in the library's own columns what was fired."""
        tally = self.firing.tally
        for _ in range(MAX_TALLIES):
            counted = dict(islice(tally.items(), MAX_TALLIED))
            if not (counted and self.lease.held):
                return
            with self.engine.begin() as connection:
                self.lease.prove(connection)
                progress.tally(connection, counted, self.clock.now())
            for key in counted:
                del tally[key]
            self._fire()

    def _release_held(self) -> None:
        with reading(self.engine) as connection:
            eta, waits = statements.next_held(connection)
        now = moment(self.clock.now())
        if waits or (eta is not None and eta <= now):
            with self.engine.begin() as connection:
                self.lease.prove(connection)
                released = statements.release_held(connection, now, MAX_RELEASED)
                released += statements.release_waiting_turn(connection, MAX_RELEASED)
                eta, _ = statements.next_held(connection)
            self.publisher.submit(released)
        self._next_eta = None if eta is None else eta.timestamp()

    def _adjust_clock(self, reference: float, at: float, uncertainty: float) -> None:
        stepped = self.clock.adjust(reference, at, uncertainty)
        if stepped:
            logger.warning("The clock was set by %+.1f s.", stepped)
        if stepped < 0 and self.schedules.loaded:
            self.schedules.clock_set_back(self.clock.now())

    def _database_away(self, error: SQLAlchemyError) -> float:
        if not self._away:
            self._away = True
            logger.warning("The database is away: %s", getattr(error, "orig", None) or error)
        self._retry_after = min(max(self._retry_after * 2, MIN_RETRY_SECONDS), MAX_RETRY_SECONDS)
        return self._retry_after
