"""Tasks in the shapes that people write, given to real workers by TASK_MODULES: each is claimed, recorded and ended."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from celery import Task, shared_task, signature
from celery.exceptions import Ignore


class OwnBase(Task):
    """A base that does not derive from ours."""

    abstract = True


@shared_task(name="field.own_base", base=OwnBase, bind=True)
def own_base(self: Any, path: str, fail: bool = False) -> str:
    """Add a line to a file."""
    with Path(path).open("a") as file:
        file.write("begun\n")
    if fail:
        raise ValueError("asked to fail")
    return str(self.request.id)


class NoText(Exception):
    """An exception that cannot say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no text to be had")


@shared_task(name="field.ends", bind=True, max_retries=1, default_retry_delay=1)
def ends(self: Any, how: str) -> None:
    """End in an unusual way."""
    if how == "ignore":
        raise Ignore
    if how == "state_then_ignore":
        self.update_state(state="FAILURE", meta={"exc_type": "ValueError", "exc_message": ["by hand"]})
        raise Ignore
    if how == "bad_str":
        raise NoText
    if how == "bad_str_retry":
        raise self.retry(exc=NoText())
    if how == "exit":
        sys.exit("enough")
    if how == "memory":
        raise MemoryError("too much")


@shared_task(name="field.slow_late", bind=True, max_retries=1, default_retry_delay=0, time_limit=3)
def slow_late(self: Any) -> None:
    """Retry, then take too long."""
    if not self.request.retries:
        raise self.retry(exc=ValueError("once more"), countdown=0)
    time.sleep(30)


# Without a limit of its own: on a busy machine three seconds may pass before the pool sees that its process is lost.
@shared_task(name="field.lost_late", bind=True, max_retries=1, default_retry_delay=0)
def lost_late(self: Any) -> None:
    """Retry, then lose the process."""
    if not self.request.retries:
        raise self.retry(exc=ValueError("once more"), countdown=0)
    os.kill(os.getpid(), signal.SIGKILL)


@shared_task(name="field.echo")
def echo(value: Any = None) -> Any:
    """Give it back."""
    return value


@shared_task(name="field.sends", bind=True)
def sends(self: Any) -> list[str]:
    """Send a task that no worker knows, one with a long id three times, and this message's own id again."""
    long_id = "daily-report:customer-4711:2026-11-25:x"
    for number in range(3):
        echo.apply_async((number,), task_id=long_id)
    echo.apply_async(("again",), task_id=self.request.id)
    return [signature("unknown.task").apply_async().id]


@shared_task(name="field.named_self")
def named_self(self: int, value: int) -> list[int]:
    """Take an argument called self."""
    return [self, value]


@shared_task(name="field.standard_progress", bind=True)
def standard_progress(self: Any, path: str) -> None:
    """Say how far it is as Celery's guide does, and wait for the file."""
    self.update_state(state="PROGRESS", meta={"current": 3, "total": 4, "status": "packing"})
    while not Path(path).exists():
        time.sleep(0.02)
