"""Rows of `runs` for tests of pages, written directly."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from webapp.database import now
from webapp.extensions import db
from webapp.runs.models import Run
from webapp.runs.states import ENDED, RunState


def make_run(state: RunState = RunState.SUCCEEDED, *, age: float = 0.0, **values: Any) -> str:
    """A committed run of `add`, created `age` seconds ago; gives its id."""
    created = values.pop("created_at", None) or now() - timedelta(seconds=age)
    row: dict[str, Any] = {"id": str(uuid.uuid4()), "task": "add", "state": state, "created_at": created}
    if state in ENDED:
        row["ended_at"] = created
    with_values = row | values
    db.session.execute(sa.insert(Run).values(**with_values))
    db.session.commit()
    return str(with_values["id"])


def make_runs(count: int, **values: Any) -> list[str]:
    """That many, a second apart; gives their ids, newest first."""
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
