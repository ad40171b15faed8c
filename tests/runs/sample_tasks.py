"""Tasks that tests give to real workers, by TASK_MODULES."""

from __future__ import annotations

import time
from pathlib import Path

from celery import shared_task


@shared_task(name="samples.note")
def note(path: str) -> None:
    """Add a line to a file: how often that happened can be counted."""
    with Path(path).open("a") as file:
        file.write("begun\n")


@shared_task(name="samples.wait")
def wait(path: str) -> str:
    """Note the beginning in PATH.begun, then wait until the file exists."""
    note(f"{path}.begun")
    while not Path(path).exists():
        time.sleep(0.02)
    return "seen"


@shared_task(name="samples.fail")
def fail(text: str) -> None:
    """Raise ValueError."""
    raise ValueError(text)
