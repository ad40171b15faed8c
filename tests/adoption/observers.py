"""An observer and a recorder beside another project, and what they have recorded. Needs an application's context."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from tests.servers import wait_for
from webapp.config import Settings
from webapp.extensions import celery, db
from webapp.recorder import event_reader
from webapp.recorder.recorder import Recorder
from webapp.run_store import observed_workers
from webapp.run_store.models import Run


@contextmanager
def observing(
    settings: Settings, kind: type[event_reader.EventReader] = event_reader.EventReader
) -> Iterator[event_reader.EventReader]:
    """An observer and a recorder, each in a thread."""
    reader = kind(celery, db.engine, settings.redis_url)
    recorder = Recorder(db.engine, settings.redis_url)
    threads = [threading.Thread(target=each.run) for each in (reader, recorder)]
    for thread in threads:
        thread.start()
    try:
        wait_for(reader.reading.is_set, seconds=20, message="the observer does not read")
        yield reader
    finally:
        for each in (reader, recorder):
            each.stop()
        for thread in threads:
            thread.join(20)


def rows() -> dict[str, sa.Row[tuple[object, ...]]]:
    with db.engine.connect() as connection:
        return {row.id: row for row in connection.execute(sa.select(Run.__table__))}


def shown() -> list[sa.Row[tuple[str, str]]]:
    table = observed_workers.ObservedWorker
    with db.engine.connect() as connection:
        return list(connection.execute(sa.select(table.node, table.software)))
