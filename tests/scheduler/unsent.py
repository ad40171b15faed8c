"""Runs that wait to be sent by a leading beat: made as rows, looked at once it has done with them."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from tests.scheduler.beats import RUNS, Rig
from tests.servers import wait_for
from webapp.database.engine import now


def queued(beats: Rig, *, age: float = 10.0, **values: Any) -> str:
    """A queued run without a message; returns its id."""
    row = {"id": str(uuid.uuid4()), "task": "add", "args": "[1, 2]", "kwargs": "{}", "state": "queued"}
    with beats.engine.begin() as connection:
        created_at = now() - timedelta(seconds=age)
        connection.execute(sa.insert(RUNS).values(**row | {"created_at": created_at} | values))
    return str((row | values)["id"])


def recovered(beats: Rig, ids: list[str], *, seconds: float = 20.0) -> list[tuple[str, datetime | None, str]]:
    """The state, the sending and the error of these runs, once a leading beat has done with each of them."""
    core = beats.beat()

    def done() -> bool:
        core.step(woken=True)
        rows = [run for run in beats.runs() if run.id in ids]
        return all(run.sent_at is not None or run.state != "queued" for run in rows)

    wait_for(done, seconds=seconds, message="some were neither sent nor failed")
    core.close()
    found = {run.id: (run.state, run.sent_at, run.error or "") for run in beats.runs()}
    return [found[run_id] for run_id in ids]


def check(beats: Rig, bad: list[str], good: list[str], *, seconds: float = 20.0) -> list[str]:
    """Whether all the good ones were sent, and all the bad ones failed; returns the errors of these."""
    ends = recovered(beats, [*good, *bad], seconds=seconds)
    assert [(state, sent_at is not None) for state, sent_at, _ in ends[: len(good)]] == [("queued", True)] * len(good)
    failed = ends[len(good) :]
    assert [(state, sent_at) for state, sent_at, _ in failed] == [("failed", None)] * len(bad)
    assert all(error.startswith("Unsendable: ") for _, _, error in failed)
    return [error for _, _, error in failed]
