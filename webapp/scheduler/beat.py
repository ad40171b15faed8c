"""Celery beat's scheduler: `celery -A wsgi:celery beat`, on sqlalchemy-celery-beat's tables."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

from celery.beat import Scheduler as CeleryScheduler
from celery.utils.log import get_logger
from sqlalchemy_celery_beat.schedulers import DatabaseScheduler

from webapp.messaging import installation
from webapp.messaging.producers import connect, drop
from webapp.scheduler.core import Core

logger = get_logger(__name__)

# Seconds.
SWITCH_INTERVAL_SECONDS = 0.001


class Scheduler(DatabaseScheduler):
    """The library's scheduler with a core of ours: only the tables and the command are as the library has them.

    `tick` waits by itself, so that an announced change ends the wait; it returns 0. `core.step` is a tick without the
    wait.
    """

    def __init__(self, app: Any, *args: Any, lazy: bool = False, **kwargs: Any) -> None:
        # Not the library's own __init__: it opens an engine that connects anew each time, and creates tables.
        self.dburi = app.conf.beat_dburi
        CeleryScheduler.__init__(self, app, *args, lazy=True, **kwargs)
        self._closed = False
        self._in_step = False
        self._core: Core | None = None
        if not lazy:
            # What is not registered is not scheduled. The command has done this; an embedded beat may not have.
            app.loader.import_default_modules()
            # What fires and what sends take turns. By default each may have to wait 5 ms for the other, several times
            # for one due time.
            sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
            if problem := installation.problem(app.conf.get("beat_redis_url"), lambda: drop(connect(app))):
                # What a SystemExit says is not shown once Celery has taken over the standard streams.
                logger.critical(problem)
                sys.exit(1)
            self._core = Core(app, self.dburi, app.conf.get("beat_redis_url"))
            self._core.observer.start()

    @property
    def core(self) -> Core:
        """What schedules. A `lazy` scheduler, which Celery makes only to print its name, has none."""
        if self._core is None:
            raise RuntimeError("a lazy scheduler does not schedule")
        return self._core

    @property
    def schedule(self) -> dict[int, Any]:
        """The schedules in force, by id."""
        return self._core.agenda.entries if self._core is not None else {}

    def setup_schedule(self) -> None:
        """Nothing is set up before this beat leads; see `install`."""

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Do what is due, then wait until something is, or until a change is announced."""
        if problem := installation.refused():
            self._end(problem)
        self._in_step = True
        try:
            wait = self.core.step(self._woken)
        finally:
            self._in_step = False
        self._woken = self.core.listener.wait(min(wait, self.max_interval)) if wait > 0 else False
        return 0.0

    def _end(self, problem: str) -> None:
        """End the process with 1. Celery's loop goes on after an exception, and exits with 0 on SystemExit."""
        logger.critical(problem)
        self.close()
        logging.shutdown()
        os._exit(1)

    _woken = False

    def sync(self) -> None:
        """Nothing is kept in memory that must be saved."""

    def close(self) -> None:
        """Stop in order.

        Celery calls it from its signal handler too, in the middle of anything: then it waits its turn.
        """
        if self._in_step or self._closed:
            return
        self._closed = True
        if self._core is not None:
            self._core.close()
        CeleryScheduler.close(self)
