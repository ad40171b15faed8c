"""The context of the page of one run, beside the run itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy_celery_beat.models import PeriodicTask

from webapp.extensions import db
from webapp.identity.models import User
from webapp.recorder.recording import RETRY_LEVEL
from webapp.run_store import promise, sending
from webapp.run_store.models import Run, RunLine
from webapp.run_store.states import Origin, RunState
from webapp.run_store.worker_models import Worker
from webapp.runs.call import summary
from webapp.runs.page import relatives, timeline, tracebacks, values
from webapp.runs.page.relatives import Family
from webapp.runs.page.timeline import Step, Times
from webapp.runs.page.values import Tree
from webapp.task_catalogue.registry import find_task

# How many retries are listed, and how many failed attempts of the run.
MAX_RETRIES = 20
# How many of the last log lines are shown.
MAX_LOG_LINES = 200
# How many workers are named in a sentence.
MAX_NAMED_WORKERS = 3


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a run. `percent` and `remaining` (seconds from when it was reported) are None without a total."""

    done: float
    total: float | None
    percent: float | None
    remaining: float | None
    text: str | None


@dataclass(frozen=True, slots=True)
class Details:
    """Values ready to show. `worker_alive` is None where no worker executes the run; `gone` are ids of deleted runs."""

    steps: list[Step]
    times: Times
    advice: str
    values: Mapping[str, Tree]
    traceback: str | None
    started_by: str | None
    schedule_exists: bool
    reason: str | None
    retries: Sequence[Any]
    family: Family | None
    worker_alive: bool | None
    observed: str
    registered: bool
    progress: Progress | None
    lines: Sequence[RunLine]
    lines_left_out: bool
    gone: frozenset[str]


def run_details(run: Run, now: datetime) -> Details:
    """The details of a run, by a few queries, each along a key or a small index."""
    worker = db.session.get(Worker, run.claimed_by) if run.claimed_by and not run.ended else None
    family, attempts = relatives.family_of(run), _attempts(run)
    newest = sa.select(RunLine).where(RunLine.run_id == run.id).order_by(RunLine.at.desc(), RunLine.id.desc())
    lines = db.session.scalars(newest.limit(MAX_LOG_LINES + 1)).all()[::-1]
    schedule = sa.select(PeriodicTask.id).where(PeriodicTask.id == run.schedule_id)
    starter = db.session.get(User, run.created_by) if run.created_by else None
    retries = sa.select(Run.id, Run.task, Run.state, Run.created_at).where(Run.retry_of == run.id)
    return Details(
        steps=timeline.steps(run, attempts),
        times=timeline.times(run),
        advice=timeline.advice(run),
        values=_values(run),
        traceback=tracebacks.shortened(run.traceback) if run.traceback else None,
        started_by=starter.name if starter else None,
        schedule_exists=run.schedule_id is not None and db.session.scalar(schedule) is not None,
        # The reason of a failed attempt is in the timeline; it is not the reason for how the run ended.
        reason=None if attempts and run.state in (RunState.SUCCEEDED, RunState.FAILED) else run.reason,
        retries=db.session.execute(retries.order_by(Run.created_at.desc()).limit(MAX_RETRIES)).all(),
        family=family,
        worker_alive=worker.alive(now) if worker else None,
        observed=_observed(run),
        registered=find_task(run.task) is not None,
        progress=progress_of(run),
        lines=lines[-MAX_LOG_LINES:],
        lines_left_out=len(lines) > MAX_LOG_LINES,
        gone=_gone(run),
    )


def _observed(run: Run) -> str:
    """Why no worker reports on a run that was sent; empty where a worker of ours does, or will."""
    if run.settled or run.sent_at is None or run.claimed_by:
        return ""
    if run.origin == Origin.PROGRAM:
        return "Another program sent this run to a worker of its own. Beatdesk follows it by task events."
    queue, consumers = sending.queue_of_run(run), promise.load(db.session.connection())
    if promise.promise(queue, run.sent_at, consumers) is promise.Promise.GUARDED:
        return ""
    others = sorted(one.node for one in consumers if one.queue == queue and not one.claims)
    if queue is None:
        why = "It is sent to an exchange, so it is unknown which worker receives it."
    elif others:
        named = ", ".join(others[:MAX_NAMED_WORKERS]) + (
            f" and {len(others) - MAX_NAMED_WORKERS} more" if len(others) > MAX_NAMED_WORKERS else ""
        )
        why = f"Workers on its queue “{queue}” do not report to Beatdesk: {named}."
    else:
        why = f"No worker that reports to Beatdesk has been seen on its queue “{queue}” since it was sent."
    return f"{why} It is sent once, and its outcome is known only from task events and the result backend."


def progress_of(run: Run) -> Progress | None:
    """The progress of a run, and the estimated time for the rest of it at the same pace."""
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


def _values(run: Run) -> dict[str, Tree]:
    """The trees of arguments and result, without those that are empty."""
    texts = {"args": run.args, "kwargs": run.kwargs, "result": run.result}
    names = {"args": summary.names_by_position(find_task(run.task))}
    given = {part: text for part, text in texts.items() if text and (part == "result" or text not in ("[]", "{}"))}
    return {part: values.tree(text, names=names.get(part, ())) for part, text in given.items()}


def _attempts(run: Run) -> list[Any]:
    """The attempts that failed and were followed by another one, oldest first, each with moment and reason."""
    if not run.attempt and run.state != RunState.RETRYING:
        return []
    mine = sa.select(RunLine.at, RunLine.text).where(RunLine.run_id == run.id, RunLine.level == RETRY_LEVEL)
    return list(db.session.execute(mine.order_by(RunLine.at.desc(), RunLine.id.desc()).limit(MAX_RETRIES)))[::-1]


def _gone(run: Run) -> frozenset[str]:
    """Of the runs that it names as its origin, those that were deleted."""
    named = frozenset(run_id for run_id in (run.retry_of, run.parent_id) if run_id)
    return named - set(db.session.scalars(sa.select(Run.id).where(Run.id.in_(named)))) if named else named
