"""The number of slots of each kind of worker: stored, shown, and updated with the pool."""

from __future__ import annotations

from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import pytest
import sqlalchemy as sa
from flask import Flask

from tests import processes
from tests.servers import wait_for
from tests.support import reading
from tests.visitors import Visitor
from webapp.config import Settings
from webapp.database.engine import now
from webapp.extensions import celery, db
from webapp.run_store.worker_models import Worker
from webapp.runs import control
from webapp.workers.capacity import pools

pytestmark = pytest.mark.slow

SAMPLES = "tests.runs.sample_tasks"
OPTIONS = {
    "solo": ["--pool", "solo", "--concurrency", "8"],
    "threads": ["--pool", "threads", "--concurrency", "3"],
    "resized": ["--pool", "prefork", "--concurrency", "2"],
    "scaled": ["--autoscale", "3,1"],
}


class Slots(NamedTuple):
    pool: str
    concurrency: int
    autoscale_min: int | None = None
    autoscale_now: int | None = None


def slots() -> dict[str, Slots]:
    """Of each worker, by its queue."""
    with reading():
        rows = db.session.execute(sa.select(Worker.name, *(getattr(Worker, name) for name in Slots._fields)))
        return {name.partition("@")[0]: Slots(*values) for name, *values in rows}


def becomes(**expected: Slots) -> None:
    wait_for(lambda: slots().items() >= expected.items(), seconds=30, message=f"{expected} was not shown")


def test_slots_are_those_that_there_are(context: Flask, settings: Settings, tmp_path: Path) -> None:
    import_module(SAMPLES)
    with ExitStack() as stack:
        for name, options in OPTIONS.items():
            arguments = ["celery", "-A", "wsgi:celery", "worker", "-n", f"{name}@%h", "--queues", name, *options]
            stack.enter_context(processes.running(processes.Process(settings, name, arguments, TASK_MODULES=SAMPLES)))
        becomes(
            solo=Slots("solo", 1),
            threads=Slots("threads", 3),
            resized=Slots("prefork", 2),
            scaled=Slots("prefork", 3, 1, 1),
        )
        for _ in range(3):
            control.launch("samples.wait", [str(tmp_path / "go")], queue="scaled")
        with reading():
            resized = db.session.scalars(sa.select(Worker.name).where(Worker.name.startswith("resized@"))).one()
        with celery.connection_for_write() as connection:
            celery.control.pool_grow(2, destination=[resized], connection=connection)
        becomes(resized=Slots("prefork", 4), scaled=Slots("prefork", 3, 1, 3))
        with reading():
            assert [pool.slots for pool in pools(["solo", "scaled"], now())] == [3, 1]
        page = Visitor(context, "viewer").get("/workers").text
        for text in ("Concurrency 1 to 3, now 3", "3 of 3 busy", "Concurrency 4", "0 of 1 busy", "0 of 4 busy"):
            assert text in " ".join(page.split()), text
        (tmp_path / "go").touch()
