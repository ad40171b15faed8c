"""What the page of one run shows beside the run itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy_celery_beat.models import PeriodicTask

from webapp.accounts.models import User
from webapp.extensions import db
from webapp.registry import find_task
from webapp.runs import calls, timeline
from webapp.runs.models import Run
from webapp.runs.timeline import Step, Times
from webapp.workers.models import Worker
from webapp.workers.service import is_alive

# So many retries and children are listed.
RELATIVES = 20


@dataclass(frozen=True, slots=True)
class Details:
    """Values ready to show. `worker_alive` is None where nobody executes the run."""

    steps: list[Step]
    times: Times
    advice: str
    args: str
    kwargs: str
    asked_by: str | None
    schedule_exists: bool
    retries: Sequence[Any]
    children: Sequence[Any]
    worker_alive: bool | None
    registered: bool


def of(run: Run, now: datetime) -> Details:
    """A few queries, each by a key or a small index."""
    worker = db.session.get(Worker, run.claimed_by) if run.claimed_by and not run.ended else None
    schedule = sa.select(PeriodicTask.id).where(PeriodicTask.id == run.schedule_id)
    return Details(
        steps=timeline.steps(run),
        times=timeline.times(run),
        advice=timeline.advice(run),
        args=calls.masked(run.args),
        kwargs=calls.masked(run.kwargs),
        asked_by=_name_of(run.created_by),
        schedule_exists=run.schedule_id is not None and db.session.scalar(schedule) is not None,
        retries=_relatives(Run.retry_of == run.id),
        children=_relatives(Run.parent_id == run.id),
        worker_alive=is_alive(worker, now) if worker else None,
        registered=find_task(run.task) is not None,
    )


def _name_of(user_id: int | None) -> str | None:
    user = db.session.get(User, user_id) if user_id else None
    return user.name if user else None


def _relatives(condition: sa.ColumnElement[bool]) -> Sequence[Any]:
    query = sa.select(Run.id, Run.task, Run.state, Run.created_at).where(condition)
    return db.session.execute(query.order_by(Run.created_at.desc()).limit(RELATIVES)).all()
