"""`make structure-live`: the modules of ours that one saved edit and one launched run enter, in warm processes.

A module counts as entered when a function of it is called. The edit is the request of the editor's form; the run is the
work of the worker's threads from its message to its end, in a solo pool.
"""

from __future__ import annotations

import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from celery.contrib.testing.worker import start_worker
from flask import Flask

from tests import servers
from tests.visitors import Visitor
from webapp import create_app
from webapp.extensions import celery, db
from webapp.run_store.models import Run
from webapp.run_store.states import RunState

ROOT = str(Path(__file__).resolve().parent.parent) + "/"
OWN = (f"{ROOT}beatdesk/", f"{ROOT}webapp/")
FIELDS = {"name": "Sums", "task": "add", "kind": "crontab", "crontab": "0 3 * * *", "args": "[1, 2]", "timezone": "UTC"}
CALL = {"task": "add", "arg.num1": "2", "arg.num2": "3"}


class Watch:
    """Notes the modules of ours whose functions are called while it is on, in the threads that it was given to."""

    def __init__(self) -> None:
        self.entered: set[str] = set()
        self.is_on = False

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        """What `sys.setprofile` calls."""
        if self.is_on and event == "call" and (name := frame.f_code.co_filename).startswith(OWN):
            self.entered.add(name.removeprefix(ROOT))

    @contextmanager
    def on(self) -> Iterator[None]:
        """Note what is called meanwhile."""
        self.is_on = True
        try:
            yield
        finally:
            self.is_on = False


def main() -> None:
    """Print both lists."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "valkey").mkdir()
        url = servers.Databases(folder, lambda: "").sqlite()
        with servers.valkey(folder / "valkey") as valkey:
            app = create_app(servers.settings(url, valkey, data=folder))
            visitor = Visitor(app, "admin")
            _print("a saved edit", _edit(visitor))
            _print("a launched run, in the worker", _run(app, visitor))


def _edit(visitor: Visitor) -> set[str]:
    made = visitor.post("/schedules", FIELDS)
    path = made.headers["Location"].split("?")[0]
    watch = Watch()
    for version, hour in enumerate((4, 5), start=1):
        fields = FIELDS | {"crontab": f"0 {hour} * * *", "version": str(version)}
        watch.is_on = version == 2
        sys.setprofile(watch)
        answer = visitor.post(path, fields)
        sys.setprofile(None)
        if answer.status_code != 303:
            raise SystemExit(f"the edit was answered {answer.status}")
    return watch.entered


def _run(app: Flask, visitor: Visitor) -> set[str]:
    watch = Watch()
    threading.setprofile(watch)
    with start_worker(celery, pool="solo", perform_ping_check=False, shutdown_timeout=30):
        threading.setprofile(None)
        _launch(app, visitor)
        with watch.on():
            _launch(app, visitor)
    return watch.entered


def _launch(app: Flask, visitor: Visitor) -> None:
    run_id = visitor.post("/runs/new", CALL).headers["Location"].rsplit("/", 1)[1]

    def over() -> bool:
        with app.app_context():
            state = db.session.get_one(Run, run_id).state
            db.session.remove()
        return bool(state != RunState.QUEUED) or bool(celery.AsyncResult(run_id).ready())

    servers.wait_for(lambda: celery.AsyncResult(run_id).ready() and over(), seconds=30, message="the run did not end")


def _print(what: str, entered: set[str]) -> None:
    print(f"{what}: {len(entered)} modules")
    for module in sorted(entered):
        print(f"  {module}")


if __name__ == "__main__":
    main()
