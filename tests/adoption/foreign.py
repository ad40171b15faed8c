"""Another project's workers and senders, as processes and clients that know nothing of Beatdesk.

`shop = Shop(settings.broker_url, tmp_path)`, then `with shop.worker():` and `shop.send("shop.note", "a")`.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from celery import Celery

from tests.processes import ROOT, Process, running, start_program
from tests.servers import wait_for


class ForeignWorker(Process):
    """A worker of the other project. Not a copy of a process that has imported ours."""

    def __init__(self, shop: Shop, name: str, options: tuple[str, ...]) -> None:
        self.name = name
        self.log = shop.folder / f"{name}.log"
        arguments = ["celery", "-A", "tests.adoption.shop", "worker", "--loglevel", "INFO", *options]
        with self.log.open("ab") as output:
            self.popen = start_program([sys.executable, "-m", *arguments], shop.environment(), output)


class Shop:
    """The other project. `backend` is where its results go; None as Celery's default, nowhere. `conf` is for its app.

    Its tasks write into a ledger, a line for each execution, that `executed` counts.
    """

    def __init__(self, broker_url: str, folder: Path, backend: str | None = None, **conf: Any) -> None:
        self.broker_url = broker_url
        self.folder = folder
        self.backend = backend
        self.conf = conf
        self.ledger = folder / "shop-ledger.txt"

    def environment(self) -> dict[str, str]:
        """The environment of its processes, without Beatdesk's settings."""
        given = {name: value for name, value in os.environ.items() if not name.startswith("BEATDESK_")}
        given |= {"PYTHONPATH": str(ROOT), "SHOP_BROKER": self.broker_url, "SHOP_LEDGER": str(self.ledger)}
        given["SHOP_CONF"] = json.dumps(self.conf)
        return given | ({"SHOP_BACKEND": self.backend} if self.backend else {})

    @contextmanager
    def worker(self, *options: str, name: str = "shop") -> Iterator[Process]:
        """A worker that takes messages: of the queue `celery`, as Celery's default is, or as `-Q` in the options says.

        `name` is only of its log here; `-n` in the options names the node, else it is Celery's `celery@host`.
        """
        with running(ForeignWorker(self, name, ("--pool", "solo", *options))) as process:

            def ready() -> bool:
                if process.popen.poll() is not None:
                    raise AssertionError(f"{name} ended with {process.popen.returncode}")
                return " ready." in process.output()

            wait_for(ready, seconds=30, message=f"{name} was not ready")
            yield process

    @contextmanager
    def client(self) -> Iterator[Celery]:
        """A plain Celery app on its broker, for sending and asking."""
        app = Celery("shop-client", broker=self.broker_url, backend=self.backend, set_as_current=False)
        app.conf.update(self.conf)
        try:
            yield app
        finally:
            app.close()

    def send(self, task: str, *args: Any, **options: Any) -> str:
        """Send one of its messages as its own code would; returns the id."""
        with self.client() as app:
            return str(app.send_task(task, args, **options).id)

    def executed(self) -> Counter[str]:
        """The count of each line in the ledger."""
        return Counter(self.ledger.read_text().splitlines() if self.ledger.exists() else ())
