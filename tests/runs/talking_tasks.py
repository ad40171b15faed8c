"""Tasks that log and print in the ways that people do, by TASK_MODULES."""

# ruff: noqa: T201  # printing is what they are about

from __future__ import annotations

import logging
import sys
import threading

from celery import Task, shared_task
from celery.utils.log import get_task_logger

task_log = get_task_logger(__name__)
module_log = logging.getLogger(__name__)
quiet_log = logging.getLogger("quiet.library")
quiet_log.setLevel(logging.WARNING)
alone_log = logging.getLogger("alone")
alone_log.propagate = False


@shared_task(name="talks.within")
def within() -> None:
    """Print; other tasks call it."""
    print("within")


@shared_task(name="talks.all", bind=True)
def talk(self: Task) -> None:
    """Say each thing once."""
    task_log.info("task logger %s", "one")
    module_log.info("module logger")
    logging.info("root logger")
    alone_log.warning("alone")
    quiet_log.info("silenced")
    module_log.debug("debugging")
    try:
        int("caught")
    except ValueError:
        module_log.exception("an exception")
    for name in ("celery.app.trace", "sqlalchemy.engine", "webapp.mail", "kombu"):
        logging.getLogger(name).error("machinery")
    printing = logging.StreamHandler()
    module_log.addHandler(printing)
    module_log.warning("by a handler that prints")
    module_log.removeHandler(printing)
    print("printed", 1, "line")
    print("two\nlines")
    print()
    print("half", end="")
    print(" and half", file=sys.stdout)
    print("by stderr", file=sys.stderr)
    sys.stdout.write(b"bytes \xff\n")  # type: ignore[arg-type]  # Celery's own takes them
    print("\r10 %\r50 %", end="")
    print("\r100 %")
    within()
    within.apply()
    thread = threading.Thread(target=print, args=("by a thread",))
    thread.start()
    thread.join()
    print("no end", end="")
