"""A worker of a plain Celery app in a process that has neither Flask nor a database: `python -m … REDIS_URL`.

It executes a run whose message comes twice and one that fails, and prints which modules of ours were imported.
"""

from __future__ import annotations

import json
import pkgutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from importlib.abc import MetaPathFinder
from typing import Any

ABSENT = ("alembic", "flask", "psycopg", "sqlalchemy", "sqlalchemy_celery_beat", "webapp", "werkzeug")


class Absent(MetaPathFinder):
    """Makes modules fail to import as if they were not installed."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: Any = None) -> None:
        """Raise ImportError for what is absent, and leave the rest to the other finders."""
        first, _, _ = fullname.partition(".")
        if first in ABSENT or first.startswith("flask_"):
            raise ImportError(f"{fullname} is not there")


if __name__ == "__main__":
    sys.meta_path.insert(0, Absent())

import redis  # noqa: E402  # as all below: once the rest cannot be imported any more
from celery import Celery  # noqa: E402
from celery.exceptions import Ignore  # noqa: E402
from celery.worker import state  # noqa: E402

from beatdesk import execution  # noqa: E402
from beatdesk.execution import run_task  # noqa: E402
from beatdesk.execution.current import Execution  # noqa: E402
from beatdesk.execution.events import Entry  # noqa: E402
from beatdesk.execution.host import Claimed, Delivery, Host  # noqa: E402
from beatdesk.execution.ids import new_id  # noqa: E402
from beatdesk.execution.reporting import log, progress  # noqa: E402


class PlainHost(Host):
    """Keeps claims in memory: there is one process."""

    worker_id = "plain"

    def __init__(self, app: Celery, url: str) -> None:
        self.app = app
        self._client = redis.Redis.from_url(url, decode_responses=True)
        self._claimed: set[str] = set()

    def redis(self) -> redis.Redis:
        """A client of its own."""
        return self._client

    def context(self) -> AbstractContextManager[Any]:
        """Nothing is to be set up."""
        return nullcontext()

    def claim(self, delivery: Delivery, task: Any, request: Mapping[str, Any]) -> Claimed:
        """Each run once."""
        if delivery.run_id in self._claimed:
            raise Ignore("duplicate")
        self._claimed.add(delivery.run_id)
        return Claimed(delivery.run_id)

    def give_back(self, execution: Execution, reason: str) -> None:
        """Forget the claim."""
        self._claimed.discard(execution.id)

    def hand_over(self, execution: Execution, reason: str, replaced: int, signature: Any) -> None:
        """Forget the claim."""
        self._claimed.discard(execution.id)

    def started_here(self, task_id: str, message: Mapping[str, Any]) -> tuple[str, int] | None:
        """Only first attempts."""
        return (task_id, 0) if task_id in self._claimed else None

    def record(self, entry: Entry) -> None:
        """Redis is there."""
        raise AssertionError(entry)


def main(url: str) -> None:
    """Execute, then print."""
    for module in pkgutil.iter_modules(execution.__path__, f"{execution.__name__}."):
        import_module(module.name)
    app = Celery("plain", broker=url, set_as_current=True)
    app.conf.update(result_backend=url, task_default_queue="plain", worker_redirect_stdouts=False)

    @app.task(name="plain.work")
    def work() -> str:
        progress(1, 2, "half")
        log("at work")
        return "done"

    @app.task(name="plain.fail")
    def fail() -> None:
        raise ValueError("below zero")

    @app.task(name="plain.stop")
    def stop() -> None:
        state.should_stop = 0

    run_task.install(PlainHost(app, url))
    run_id, failing = new_id(), new_id()
    for task, task_id in ((work, run_id), (work, run_id), (fail, failing), (stop, new_id())):
        task.apply_async(task_id=task_id)
    app.Worker(pool="solo", quiet=True, without_gossip=True, without_mingle=True).start()
    ours = sorted(name for name in sys.modules if name.startswith("beatdesk."))
    print(json.dumps({"work": run_id, "fail": failing, "modules": ours}))  # noqa: T201  # to the test


if __name__ == "__main__":
    main(sys.argv[1])
