"""The tasks of another project. Nothing here knows of Beatdesk."""

from __future__ import annotations

import os
import time
from pathlib import Path

from celery import shared_task


def _note(what: str) -> None:
    with Path(os.environ["SHOP_LEDGER"]).open("a") as ledger:
        ledger.write(f"{what}\n")


@shared_task(name="shop.note")
def note(what: str) -> str:
    """Write a line into the ledger: the proof of one execution."""
    _note(what)
    return what


@shared_task(name="shop.fails")
def fails(what: str) -> None:
    """Write a line, then fail."""
    _note(what)
    raise ValueError(what)


@shared_task(name="shop.wait")
def wait(what: str, gate: str) -> str:
    """Write a line, then last until a file of that name is there."""
    _note(what)
    while not Path(gate).exists():
        time.sleep(0.02)
    return what


@shared_task(name="shop.sends")
def sends(what: str, queue: str) -> None:
    """Send another task to a queue."""
    note.apply_async([what], queue=queue)
