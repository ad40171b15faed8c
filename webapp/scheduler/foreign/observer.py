"""Watches the consumers of queues, and settles what only observed workers took: a thread of its own, every ten seconds.

It has its own connection to the broker. What it asks takes a second and more, and no message that is due waits for it.
"""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from celery import Celery
from celery.utils.log import get_logger

from webapp.database.moments import moment
from webapp.database.reads import reading
from webapp.liveness import CONSUMER_POLL_SECONDS
from webapp.messaging.installation import OtherInstallation
from webapp.messaging.producers import BROKER_ERRORS
from webapp.schedule_store.rows import TASKS
from webapp.scheduler.announcer import Announcer
from webapp.scheduler.backlog import Backlog
from webapp.scheduler.clock import Clock
from webapp.scheduler.foreign.consumers import (
    MAX_ANSWERS,
    ConsumerLog,
    ask,
    ask_for,
    ask_for_tasks,
    foreign_queues,
)
from webapp.scheduler.foreign.settling import Settling
from webapp.scheduler.leader import Lease, LeaseLost
from webapp.scheduler.sending.messages import Sender
from webapp.task_catalogue import announced
from webapp.task_catalogue.registry import forget_announced

logger = get_logger(__name__)

# Workers that were there before are asked for their tasks so often.
TASKS_ASKED_EVERY = timedelta(seconds=60)
# Seconds between two looks at whether this beat leads.
IDLE = 0.5


class Observer:
    """`start` begins the thread, which works while this beat leads; `look` is one look, without a thread."""

    def __init__(
        self, app: Celery, engine: sa.Engine, lease: Lease, clock: Clock, redis_url: str | None = None
    ) -> None:
        self._app = app
        self._engine = engine
        self._lease = lease
        self._clock = clock
        self._sender = Sender(app)
        self._announcer = Announcer(redis_url)
        self._log = ConsumerLog()
        self._settling = Settling(app, engine, lease, clock)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._away = False
        self._nodes: set[str] = set()
        self._ask_tasks_at = datetime.min.replace(tzinfo=UTC)
        # With fewer, a look ends as soon as so many have answered.
        self.max_answers = MAX_ANSWERS

    def start(self) -> None:
        """Begin to work, whenever this beat leads."""
        self._thread = threading.Thread(target=self._run, name="beat-observer", daemon=True)
        self._thread.start()

    def close(self, seconds: float = 3.0) -> None:
        """End the thread, and wait for that at most so many seconds."""
        self._stopping.set()
        if self._thread is None:
            self._sender.close()
        else:
            self._thread.join(seconds)

    def _run(self) -> None:
        pause = 0.0
        while not self._stopping.wait(pause):
            pause = IDLE
            if self._lease.fresh():
                pause = CONSUMER_POLL_SECONDS
                self._try()
        self._sender.close()

    def _try(self) -> None:
        try:
            self.look()
        except LeaseLost:
            return
        except sa.exc.SQLAlchemyError as error:
            logger.info("not settled now, the database is away: %s", error.__class__.__name__)
        except OtherInstallation:
            # The publisher finds it out as well, and says so.
            self._sender.close()
        except BROKER_ERRORS as error:
            self._broker_away(error)
        except Exception:
            # Whatever another program's worker or backend says: this thread must live.
            logger.exception("a look at the workers failed")
            self._sender.close()
        else:
            self._away = False

    def _broker_away(self, error: Exception) -> None:
        self._sender.close()
        self._settling.answered(None)
        if not self._away:
            self._away = True
            logger.warning("Workers cannot be asked, the broker is away: %s", error)

    def look(self) -> None:
        """Ask the workers, keep what they say, settle. Raises what the transport or the database raises."""
        self._sender.ready()
        connection = self._sender.connection
        answers = ask(self._app, connection, self.max_answers)
        now = moment(self._clock.now())
        with self._engine.begin() as database:
            self._lease.prove(database)
            self._log.record(database, answers, now)
        self._settling.answered(now)
        backlog = Backlog(connection)

        def held(run_ids: list[str]) -> dict[str, dict[str, str]] | None:
            return ask_for(self._app, connection, run_ids, answers)

        changed = self._settling.look(backlog, self._sender.queue_of, held)
        changed += self._settling.fail_never_claimed(backlog, self._sender.queue_of, held)
        self._announcer.announce(changed)
        self._ask_for_tasks(connection, now)

    def _ask_for_tasks(self, connection: Any, now: datetime) -> None:
        """Keep which tasks the workers of other projects have. Those that are new may be what a schedule waits for."""
        with reading(self._engine) as database:
            queues = foreign_queues(database, now, self._app.conf.beat_project_queue)
        if not queues or (queues.keys() <= self._nodes and now < self._ask_tasks_at):
            return
        tasks = ask_for_tasks(self._app, connection, sorted(queues))
        with self._engine.begin() as database:
            self._lease.prove(database)
            new = announced.keep(database, tasks, queues, now)
        self._nodes, self._ask_tasks_at = set(tasks), now + TASKS_ASKED_EVERY
        if new:
            forget_announced()
            with self._engine.begin() as database:
                self._lease.prove(database)
                # For the triggers of revision: beat reads these schedules again.
                again = sa.update(TASKS).where(TASKS.c.task.in_(sorted(new)))
                database.execute(again.values(task=TASKS.c.task))
