"""Measures how many state changes a second one recorder moves from the stream into the database.

Run as `python -m bench.recording [--runs N] [--database sqlite|postgresql]`. Each run tells received and succeeded; the
claim, which workers write themselves, is not counted. The bars are 5,000 a second on PostgreSQL and 2,000 on SQLite.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import uuid
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter

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
        pace = _record(engine, valkey, changes)
        _check(engine, asked.runs)
        engine.dispose()
    print(f"{asked.database}: {changes:,} state changes, {pace:,.0f} a second (bar {BARS[asked.database]:,})")
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


def _check(engine: sa.Engine, runs: int) -> None:
    with engine.connect() as connection:
        query = sa.select(sa.func.count()).where(Run.state == RunState.SUCCEEDED, Run.received_at.is_not(None))
        recorded = connection.scalar(query)
    if recorded != runs:
        sys.exit(f"only {recorded} of {runs} runs are recorded")


if __name__ == "__main__":
    main()
