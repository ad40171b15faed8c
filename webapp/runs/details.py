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
from webapp.runs import timeline
from webapp.runs.models import Run, RunLine
from webapp.runs.timeline import Step, Times
from webapp.secrecy.masking import masked
from webapp.workers.models import Worker
from webapp.workers.service import is_alive

# So many retries and children are listed.
RELATIVES = 20
# The last lines that a page shows.
LINES = 200


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is. `percent` and `remaining` (seconds, when it was told) are None without a total."""

    done: float
    total: float | None
    percent: float | None
    remaining: float | None
    text: str | None


@dataclass(frozen=True, slots=True)
class Details:
    """Values ready to show. `worker_alive` is None where nobody executes the run; `gone` are ids of deleted runs."""

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
    progress: Progress | None
    lines: Sequence[RunLine]
    lines_left_out: bool
    gone: frozenset[str]


def of(run: Run, now: datetime) -> Details:
    """A few queries, each by a key or a small index."""
    worker = db.session.get(Worker, run.claimed_by) if run.claimed_by and not run.ended else None
    newest = sa.select(RunLine).where(RunLine.run_id == run.id).order_by(RunLine.at.desc(), RunLine.id.desc())
    lines = db.session.scalars(newest.limit(LINES + 1)).all()[::-1]
    schedule = sa.select(PeriodicTask.id).where(PeriodicTask.id == run.schedule_id)
    return Details(
        steps=timeline.steps(run),
        times=timeline.times(run),
        advice=timeline.advice(run),
        args=masked(run.args),
        kwargs=masked(run.kwargs),
        asked_by=_name_of(run.created_by),
        schedule_exists=run.schedule_id is not None and db.session.scalar(schedule) is not None,
        retries=_relatives(Run.retry_of == run.id),
        children=_relatives(Run.parent_id == run.id),
        worker_alive=is_alive(worker, now) if worker else None,
        registered=find_task(run.task) is not None,
        progress=progress_of(run),
        lines=lines[-LINES:],
        lines_left_out=len(lines) > LINES,
        gone=_gone(run),
    )


def progress_of(run: Run) -> Progress | None:
    """How far it is, and how long the rest takes if it goes on as it did."""
    if run.progress_done is None or run.progress_at is None:
        return None
    done, total = run.progress_done, run.progress_total
    if not total or total <= 0:
        return Progress(done, None, None, None, run.progress_text)
    share = min(max(done / total, 0.0), 1.0)
    remaining = None
    if run.started_at is not None and share > 0 and not run.ended:
        spent = (run.progress_at - run.started_at).total_seconds()
        remaining = max(spent * (1 - share) / share, 0.0)
    return Progress(done, total, share * 100, remaining, run.progress_text)


def _name_of(user_id: int | None) -> str | None:
    user = db.session.get(User, user_id) if user_id else None
    return user.name if user else None


def _gone(run: Run) -> frozenset[str]:
    """Of the runs that it names as its origin, those that are not kept any more."""
    named = frozenset(run_id for run_id in (run.retry_of, run.parent_id) if run_id)
    return named - set(db.session.scalars(sa.select(Run.id).where(Run.id.in_(named)))) if named else named


def _relatives(condition: sa.ColumnElement[bool]) -> Sequence[Any]:
    query = sa.select(Run.id, Run.task, Run.state, Run.created_at).where(condition)
    return db.session.execute(query.order_by(Run.created_at.desc()).limit(RELATIVES)).all()
