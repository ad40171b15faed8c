"""Measures how many state changes a second one recorder moves from the stream into the database.

It is a part of `python -m bench`; alone `python -m bench.recording [--runs N] [--database sqlite|postgresql]`. Each run
is received and succeeds; the claim, which workers write themselves, is not counted. The bars are 5,000 a second on
PostgreSQL and 2,000 on SQLite. The CPU times of the recorder and of PostgreSQL's server are given too: they do not
depend on other programs of the machine.
"""

from __future__ import annotations

import json
import sys
import tempfile
import uuid
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter, process_time

import psutil
import redis
import sqlalchemy as sa

from beatdesk.execution.events import STREAM, Entry, Event
from bench.pace import Bench, Pace
from tests import servers
from webapp.database.engine import create_engine, now
from webapp.recorder.recorder import Recorder
from webapp.run_store.models import Run
from webapp.run_store.states import RunState


def _measure(runs: int, database: str) -> Pace:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bd-bench-")))
        (folder / "valkey").mkdir()
        valkey = stack.enter_context(servers.valkey(folder / "valkey"))
        made = servers.Databases(folder, lambda: stack.enter_context(servers.postgres()))
        engine = create_engine(getattr(made, database)())
        ids = [str(uuid.uuid4()) for _ in range(runs)]
        _write_runs(engine, ids)
        changes = _tell(valkey, ids)
        server = _server(engine)
        before, own = _spent(server), process_time()
        a_second = _record(engine, valkey, changes)
        own, of_server = process_time() - own, _spent(server) - before
        _check(engine, runs)
        engine.dispose()
    return Pace(changes, a_second, own * 1e6 / changes, of_server * 1e6 / changes)


def _write_runs(engine: sa.Engine, ids: list[str]) -> None:
    with engine.begin() as connection:
        connection.execute(sa.insert(Run), [{"id": one, "task": "add", "state": RunState.STARTED} for one in ids])


def _tell(url: str, ids: list[str]) -> int:
    with redis.Redis.from_url(url) as client:
        pipeline = client.pipeline(transaction=False)
        for count, one in enumerate(ids):
            for event, text in ((Event.RECEIVED, ""), (Event.SUCCEEDED, json.dumps({"sum": count}))):
                pipeline.xadd(STREAM, Entry(one, event, 0, now(), text=text).fields())
            if count % 1000 == 999:
                pipeline.execute()
        pipeline.execute()
        return int(client.xlen(STREAM))


def _record(engine: sa.Engine, url: str, changes: int) -> float:
    recorder = Recorder(engine, url)
    recorder.step()  # makes the group
    began, done = perf_counter(), 0
    while done < changes:
        done += recorder.step()
    return changes / (perf_counter() - began)


def _server(engine: sa.Engine) -> psutil.Process | None:
    """The server of PostgreSQL; SQLite has none."""
    if engine.dialect.name == "sqlite":
        return None
    with engine.connect() as connection:
        return psutil.Process(connection.execute(sa.text("SELECT pg_backend_pid()")).scalar_one()).parent()


def _spent(server: psutil.Process | None) -> float:
    """CPU seconds of a server with all its processes."""
    if server is None:
        return 0.0
    times = [process.cpu_times() for process in (server, *server.children())]
    return sum(time.user + time.system for time in times)


def _check(engine: sa.Engine, runs: int) -> None:
    with engine.connect() as connection:
        query = sa.select(sa.func.count()).where(Run.state == RunState.SUCCEEDED, Run.received_at.is_not(None))
        recorded = connection.scalar(query)
    if recorded != runs:
        sys.exit(f"only {recorded} of {runs} runs are recorded")


BENCH = Bench(
    title="the recorder",
    way="database",
    heads=("state changes recorded", "changes", "CPU of one, µs", "the server's"),
    bars={"postgresql": 5_000, "sqlite": 2_000},
    runs=20_000,
    measure=_measure,
)


if __name__ == "__main__":
    BENCH.main(__doc__)
