"""Rows of `runs` for tests, written directly, deliveries of their messages, and entries of the stream."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from celery.app.trace import build_tracer

from beatdesk.execution.events import Entry
from beatdesk.execution.host import get_host
from webapp.database.engine import now
from webapp.extensions import celery, db
from webapp.recorder import recording
from webapp.run_store.models import Run
from webapp.run_store.states import ENDED, RunState
from webapp.worker_process.host import DatabaseHost


def make_run(state: RunState = RunState.SUCCEEDED, *, age: float = 0.0, **values: Any) -> str:
    """A committed run of `add`, created `age` seconds ago; returns its id."""
    created = values.pop("created_at", None) or now() - timedelta(seconds=age)
    row: dict[str, Any] = {"id": str(uuid.uuid4()), "task": "add", "state": state, "created_at": created}
    if state in ENDED:
        row["ended_at"] = created
    with_values = row | values
    db.session.execute(sa.insert(Run).values(**with_values))
    db.session.commit()
    return str(with_values["id"])


def make_runs(count: int, **values: Any) -> list[str]:
    """That many, a second apart; returns their ids, newest first."""
    at: datetime = now()
    rows = [
        {
            "id": str(uuid.uuid4()),
            "task": "add",
            "state": RunState.SUCCEEDED,
            "created_at": at - timedelta(seconds=age),
            "ended_at": at,
            **values,
        }
        for age in range(count)
    ]
    if rows:
        db.session.execute(sa.insert(Run), rows)
    db.session.commit()
    return [str(row["id"]) for row in rows]


def deliver(task: Any, task_id: str, args: Sequence[Any] = (), kwargs: Any = None, **headers: Any) -> Any:
    """Have a task executed as a worker's pool does with a message; returns the outcome of its tracer."""
    assert isinstance(get_host(), DatabaseHost), "tracers are wrapped once it is set"
    task.__trace__ = build_tracer(task.name, task, app=celery)
    request = {"id": task_id, "task": task.name, "hostname": "w@h", "delivery_info": {}, **headers}
    return task.__trace__(task_id, args, {} if kwargs is None else kwargs, request)


def record(*entries: Entry) -> bool:
    """Apply entries of the stream as the recorder does; returns whether a schedule was paused."""
    with db.engine.begin() as connection:
        return recording.apply(connection, entries)
