"""Log records and output of tasks become log lines of their runs on each pool; the worker's log keeps its level."""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack
from importlib import import_module

import pytest
import sqlalchemy as sa
from flask import Flask

from tests import processes
from tests.servers import wait_for
from tests.support import fresh, reading
from webapp.config import Settings
from webapp.extensions import db
from webapp.run_store.models import Run, RunLine
from webapp.run_store.states import RunState
from webapp.runs import control

pytestmark = pytest.mark.slow

TASKS = "tests.runs.talking_tasks"
# With the level of each worker's own log.
POOLS = {"prefork": "error", "threads": "info", "gevent": "error", "solo": "error"}
SAID = [
    ("info", "task logger one"),
    ("info", "module logger"),
    ("info", "root logger"),
    ("warning", "alone"),
    ("error", "an exception"),
    ("warning", "by a handler that prints"),
    ("info", "printed 1 line"),
    ("info", "two"),
    ("info", "lines"),
    ("info", "half and half"),
    ("info", "by stderr"),
    ("info", "bytes �"),
    ("info", "100 %"),
    ("info", "within"),
    ("info", "within"),
    ("info", "no end"),
]


def worker(settings: Settings, pool: str, level: str) -> AbstractContextManager[processes.Process]:
    """A worker that the fixture does not wait for; the tests wait for its runs."""
    options = ["--pool", pool, "--queues", pool, "--loglevel", level, "-n", f"{pool}@%h"]
    process = processes.Process(settings, pool, ["celery", "-A", "wsgi:celery", "worker", *options], TASK_MODULES=TASKS)
    return processes.running(process)


def lines(run_id: str) -> list[tuple[str, str]]:
    """The first line of each text, with its level."""
    with reading():
        query = sa.select(RunLine.level, RunLine.text).where(RunLine.run_id == run_id).order_by(RunLine.id)
        return [(row.level, row.text.splitlines()[0]) for row in db.session.execute(query)]


def test_output_of_tasks_is_stored_with_their_runs(context: Flask, settings: Settings) -> None:
    import_module(TASKS)
    with ExitStack() as stack:
        stack.enter_context(processes.recorder(settings))
        workers = {pool: stack.enter_context(worker(settings, pool, level)) for pool, level in POOLS.items()}
        runs = {pool: control.launch("talks.all", queue=pool).id for pool in POOLS}
        wait_for(lambda: all(fresh(Run, run_id).state == RunState.SUCCEEDED for run_id in runs.values()), seconds=30)
        wait_for(lambda: all(("info", "no end") in lines(run_id) for run_id in runs.values()), seconds=20)
    for pool, run_id in runs.items():
        assert lines(run_id) == SAID, pool
        printed = workers[pool].output()
        assert printed.count("an exception") == 1, pool
        for text in ("task logger one", "module logger", "root logger", "by a thread"):
            assert printed.count(text) == (1 if POOLS[pool] == "info" else 0), (pool, text)
