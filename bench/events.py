"""Measures how many task events a second become recorded runs in PostgreSQL, read from each broker.

It is a part of `python -m bench`; alone `python -m bench.events [--runs N] [--broker redis|rabbitmq]`. Each run has
three events, received, started and succeeded, each a message of its own, as a busy worker sends them at worst. On
RabbitMQ they wait in the queue; on Redis, which only listeners hear, a process publishes them as fast as it can. One
process reads and one records. The bar is 5,000 a second on RabbitMQ; on Redis one core of the reader is the limit.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
import uuid
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import kombu
import sqlalchemy as sa
from celery.events.event import get_exchange
from flask import Flask

from bench.pace import Bench, Pace
from tests import servers
from tests.rabbitmq import rabbitmq, url
from tests.servers import wait_for
from webapp import create_app
from webapp.database.engine import create_engine
from webapp.extensions import celery, db
from webapp.messaging import installation
from webapp.recorder.event_reader import EventReader
from webapp.recorder.recorder import Recorder
from webapp.run_store.models import Run
from webapp.run_store.states import RunState

KINDS = ("received", "started", "succeeded")


def _measure(runs: int, broker: str) -> Pace:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bd-bench-")))
        for name in ("valkey", "rabbitmq"):
            (folder / name).mkdir()
        valkey = stack.enter_context(servers.valkey(folder / "valkey"))
        address = valkey if broker == "redis" else url(stack.enter_context(rabbitmq(folder / "rabbitmq")))
        made = servers.Databases(folder, lambda: stack.enter_context(servers.postgres()))
        settings = servers.settings(made.postgresql(), valkey, data=folder).with_changes(broker_url=address)
        recording = get_context("spawn").Process(target=_record, args=(settings.database_url, valkey), daemon=True)
        recording.start()
        stack.callback(recording.terminate)
        return _read(create_app(settings), broker, address, runs)


def _read(app: Flask, broker: str, address: str, runs: int) -> Pace:
    with app.app_context():
        reader = EventReader(celery, db.engine, app.extensions["settings"].redis_url)
    ids = [str(uuid.uuid4()) for _ in range(runs)]
    publishing = get_context("spawn").Process(target=_publish, args=(address, ids), daemon=True)
    if broker == "rabbitmq":
        # Only to declare the queue; then events wait in it.
        _run_until(reader, reader.reading.is_set)
        publishing.start()
        publishing.join()
    thread = threading.Thread(target=_run_until, args=(reader, lambda: _ended(app) >= runs))
    began, own = perf_counter(), process_time()
    thread.start()
    if broker == "redis":
        wait_for(reader.reading.is_set)
        publishing.start()
    thread.join()
    seconds, own = perf_counter() - began, process_time() - own
    ended = _ended(app)
    with app.app_context():
        db.engine.dispose()
    return Pace(3 * runs, 3 * ended / seconds, own * 1e6 / (3 * runs), runs - ended)


def _run_until(reader: EventReader, done: Any) -> None:
    reader.stopping.clear()
    thread = threading.Thread(target=reader.run)
    thread.start()
    deadline = time.monotonic() + 60
    while not done() and time.monotonic() < deadline:
        time.sleep(0.2)
    reader.stop()
    thread.join()


def _ended(app: Flask) -> int:
    with app.app_context():
        engine = db.engine
    with engine.connect() as connection:
        query = sa.select(sa.func.count()).where(Run.state == RunState.SUCCEEDED, Run.started_at.is_not(None))
        return int(connection.scalar(query) or 0)


def _record(database_url: str, redis_url: str) -> None:
    installation.use(database_url)
    Recorder(create_engine(database_url), redis_url).run()


def _publish(address: str, ids: list[str]) -> None:
    """The events of some runs, as a worker of that name would send them."""
    with kombu.Connection(address) as connection:
        exchange = get_exchange(connection)
        producer = kombu.Producer(connection.channel(), exchange, serializer="json")
        for one in ids:
            for kind in KINDS:
                event = {"type": f"task-{kind}", "uuid": one, "hostname": "celery@bench", "pid": os.getpid()}
                event |= {"timestamp": time.time(), "utcoffset": 0, "clock": 1}
                if kind == "received":
                    event |= {"name": "shop.note", "args": "('a', 1)", "kwargs": "{'size': 2.5}", "retries": 0}
                elif kind == "succeeded":
                    event |= {"result": "'a'", "runtime": 0.001}
                producer.publish(event, routing_key=f"task.{kind}")


BENCH = Bench(
    title="task events",
    way="broker",
    heads=("task events into PostgreSQL", "events", "reader, µs of one", "runs lost"),
    bars={"rabbitmq": 5_000, "redis": 0},
    runs=10_000,
    measure=_measure,
)


if __name__ == "__main__":
    BENCH.main(__doc__)
