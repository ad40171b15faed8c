"""Another project's Celery app that Beatdesk has adopted: `celery -A tests.adoption.adopted_shop worker`."""

from __future__ import annotations

import logging
import os
import signal
import time
from pathlib import Path
from typing import Any

from celery import Celery, Task, chain, chord, shared_task

import beatdesk

app = Celery("shop", broker=os.environ["SHOP_BROKER"])
beatdesk.adopt(app)
app.conf.broker_connection_retry_on_startup = True
app.conf.broker_transport_options = {"visibility_timeout": 3}
app.conf.result_backend = os.environ.get("SHOP_BACKEND")


def note(what: str) -> None:
    """Write a line into the ledger: the proof of one execution."""
    with Path(os.environ["SHOP_LEDGER"]).open("a") as ledger:
        ledger.write(f"{what}\n")


class Base(Task):
    """A base class of theirs, which calls its tasks its own way."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run."""
        return self.run(*args, **kwargs)


@app.task(name="shop.write", base=Base)
def write(what: str) -> str:
    """A task with a base of theirs."""
    note(what)
    logging.getLogger(__name__).info("wrote %s", what)
    return what


class Classy(Base):  # type: ignore[misc]  # Celery has no types
    """A class task."""

    name = "shop.classy"

    def run(self, what: str) -> str:
        """Write."""
        note(what)
        return what


app.register_task(Classy())


@shared_task(name="shop.shared")
def shared(what: str) -> str:
    """A shared task."""
    note(what)
    return what


@app.task(name="shop.fails")
def fails(what: str) -> None:
    """Write, then fail."""
    note(what)
    raise ValueError(what)


@app.task(name="shop.retries", bind=True, max_retries=2)
def retries(self: Any, what: str) -> str:
    """Write at each attempt, and succeed at the third."""
    note(f"{what} {self.request.retries}")
    if self.request.retries < 2:
        raise self.retry(countdown=0, exc=ValueError(what))
    return what


@app.task(name="shop.replaces", bind=True)
def replaces(self: Any, what: str) -> Any:
    """Replace itself by another task."""
    note(f"{what} replaced")
    raise self.replace(write.s(what))


@app.task(name="shop.joins")
def joins(parts: list[str]) -> str:
    """The body of a chord."""
    note(f"joined {' '.join(sorted(parts))}")
    return " ".join(sorted(parts))


@app.task(name="shop.canvas")
def canvas(what: str) -> None:
    """Send a chord and a chain."""
    chord([write.s(f"{what} {n}") for n in range(3)])(joins.s())
    chain(write.si(f"{what} first"), write.si(f"{what} second")).apply_async()


@app.task(name="shop.waits", acks_late=True)
def waits(what: str, gate: str) -> str:
    """Write, then last until a file of that name is there. Acknowledged late."""
    return _wait(what, gate)


@app.task(name="shop.waits_early")
def waits_early(what: str, gate: str) -> str:
    """The same, acknowledged at once, as is Celery's default."""
    return _wait(what, gate)


def _wait(what: str, gate: str) -> str:
    note(what)
    while not Path(gate).exists():
        time.sleep(0.02)
    return what


@app.task(name="shop.dies")
def dies(what: str) -> None:
    """Write, then kill its process."""
    note(what)
    os.kill(os.getpid(), signal.SIGKILL)
