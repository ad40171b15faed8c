"""`beatdesk.adopt(app)`: the runs of another project's app are claimed and recorded, and everything else stays."""

from __future__ import annotations

import logging

from celery import Celery

from beatdesk.adopted.host import RedisHost
from beatdesk.execution import host, run_task

logger = logging.getLogger(__name__)


def adopt(app: Celery, redis_url: str | None = None) -> None:
    """Have Beatdesk see what this app does. Call it once, in every process, before or after tasks are defined.

    Connects to nothing by itself, and never raises for a Redis that is away. Which Redis: `redis_url`, else
    `BEATDESK_REDIS_URL`, else the app's broker. Does nothing in a process that has adopted an app, and in Beatdesk's
    own processes.
    """
    known = host.find_host()
    if known is not None:
        if known.app is not app:
            logger.info("%r is not adopted: this process executes the tasks of %r", app, known.app)
        return
    adopted = RedisHost(app, redis_url)
    run_task.install(adopted)
    # They connect receivers of Celery's signals when they are imported.
    from beatdesk.adopted import presence
    from beatdesk.execution import main_process, publishing, task_output  # noqa: F401

    presence.install(adopted)
