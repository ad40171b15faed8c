"""Measures how many state changes a second one recorder moves from the stream into the database.

Run as `python -m bench.recording [--runs N] [--database sqlite|postgresql]`. Each run tells received and succeeded; the
claim, which workers write themselves, is not counted. The bars are 5,000 a second on PostgreSQL and 2,000 on SQLite.
The CPU time is what other programs on the machine do not lengthen: of the recorder, and of the server of PostgreSQL.
"""

from __future__ import annotations

import argparse
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

from tests import servers
from webapp.database import create_engine, now
from webapp.runs.models import Run
from webapp.runs.recorder import Recorder
from webapp.runs.states import RunState
from webapp.runs.stream import STREAM, Entry, Event

BARS = {"sqlite": 2_000, "postgresql": 5_000}


def main() -> None:
    """Fill the stream, let a recorder empty it, print its pace; fails below the bar."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20_000)
    parser.add_argument("--database", choices=sorted(BARS), default="sqlite")
    asked = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "valkey").mkdir()
        valkey = stack.enter_context(servers.valkey(folder / "valkey"))
        made = servers.Databases(folder, lambda: stack.enter_context(servers.postgres()))
        engine = create_engine(getattr(made, asked.database)())
        ids = [str(uuid.uuid4()) for _ in range(asked.runs)]
        _write_runs(engine, ids)
        changes = _tell(valkey, ids)
        server = _server(engine)
        before, own = _spent(server), process_time()
        pace = _record(engine, valkey, changes)
        own, of_server = process_time() - own, _spent(server) - before
        _check(engine, asked.runs)
        engine.dispose()
    print(f"{asked.database}: {changes:,} state changes, {pace:,.0f} a second (bar {BARS[asked.database]:,})")
    micros = 1e6 / changes
    print(f"CPU for one: {own * micros:.0f} µs of the recorder, {of_server * micros:.0f} µs of the database's server")
    if pace < BARS[asked.database]:
        sys.exit("below the bar")


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


if __name__ == "__main__":
    main()
