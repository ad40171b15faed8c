"""Tasks that leave a trace of each execution."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from celery import shared_task

BEGUN, DONE = "begun", "done"


def note(folder: str, file: str, *words: str) -> None:
    """Append a line, in one write, which many processes may do at a time."""
    line = " ".join(words) + "\n"
    handle = os.open(Path(folder) / file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(handle, line.encode())
    finally:
        os.close(handle)


@shared_task(name="soak.work", bind=True)
def work(self: Any, folder: str, seconds: float = 0.0) -> None:
    """Note the run and the worker at the beginning, and the run at the end: its effect."""
    note(folder, BEGUN, self.request.id, self.request.hostname)
    time.sleep(seconds)
    note(folder, DONE, self.request.id)


@shared_task(name="soak.die", bind=True, max_retries=2, default_retry_delay=1)
def die(self: Any, folder: str) -> None:
    """Note the run, then kill the process that executes it."""
    note(folder, BEGUN, self.request.id, self.request.hostname)
    os.kill(os.getpid(), signal.SIGKILL)
