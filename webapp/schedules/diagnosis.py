"""Why didn't it run? Follows a due time from the schedule to its result and names the first link that is broken.

1. The schedule itself: enabled, able to fire, not paused, within its bounds.
2. Beat: one leads, and it knows the last edit.
3. The occurrence: the run of the due time, and why it is as it is.
4. The broker answers.
5. The queue: a worker that is alive consumes it.
6. The task: such a worker has it registered.
7. The result of the run.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from webapp import broker, formats
from webapp.extensions import db
from webapp.registry import find_task
from webapp.runs.models import Run
from webapp.runs.states import RunState
from webapp.scheduler.models import Beat
from webapp.scheduler.recurrence.zones import zone
from webapp.schedules import fields, in_force
from webapp.schedules.stored import Stored
from webapp.workers.models import Worker

WORKER_SILENCE = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Link:
    """One link of the chain: whether it holds (None: nobody can say), what was found, what to do about it."""

    name: str
    holds: bool | None
    found: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All links in order; `due_at` is the due time that was asked about, None when there was none yet."""

    due_at: datetime | None
    run: Run | None
    links: Sequence[Link]

    @property
    def broken(self) -> Link | None:
        """The first link that does not hold."""
        return next((link for link in self.links if link.holds is False), None)


@dataclass(frozen=True, slots=True)
class DryRun:
    """What running it now would do, found out without sending anything."""

    queue: str
    exchange: str
    routing_key: str
    body: str
    workers: Sequence[str]
    problem: str | None


def diagnose(schedule: Stored, now: datetime, due_at: datetime | None = None) -> Diagnosis:
    """Look at the given due time, or at the last one that beat accounted for."""
    due_at = due_at or schedule.row.last_due_at
    run = _run_of(schedule, due_at)
    queue, workers = _consumers(schedule, now)
    links = [_schedule(schedule, now), _beat(schedule, now), _occurrence(schedule, due_at, run, now), _broker()]
    links += [_queue(queue, workers), _task(schedule, workers), _result(run)]
    return Diagnosis(due_at, run, links)


def dry_run(schedule: Stored, args: list[object], kwargs: dict[str, object], now: datetime) -> DryRun:
    """Resolve the route, serialise the arguments, and look who would take it."""
    queue, exchange, key = broker.destination(schedule.row.task, args, kwargs, schedule.row.queue)
    known = find_task(schedule.row.task)
    problem = known.refuse(args, kwargs) if known else f"There is no registered task “{schedule.row.task}”."
    takers = [
        worker.name
        for worker in _alive(now)
        if queue in json.loads(worker.queues) and schedule.row.task in json.loads(worker.tasks)
    ]
    return DryRun(queue, exchange, key, json.dumps([args, kwargs], ensure_ascii=False), takers, problem)


def _schedule(schedule: Stored, now: datetime) -> Link:
    name, row = "Schedule", schedule.row
    if not row.enabled:
        return Link(name, False, "It is disabled.", "Enable it; it runs when it is next due.")
    if schedule.problem:
        return Link(name, False, f"It cannot fire: {schedule.problem}", "Edit it.")
    if schedule.paused_at_moment(now):
        why = f": {row.pause_reason}" if row.pause_reason else ""
        return Link(name, False, f"It is paused{why}.", "Resume it, or wait for the end of the pause.")
    if not schedule.due_times(now, 1):
        limit = schedule.max_runs
        spent = f" It has run {row.runs} of {limit} times." if limit else ""
        return Link(name, False, f"Nothing of it comes due any more.{spent}", "Give it a later end or more runs.")
    return Link(name, True, f"It is enabled and comes due: {schedule.words}.")


def _beat(schedule: Stored, now: datetime) -> Link:
    name = "Beat"
    beats = in_force.present_beats(now)
    if not beats:
        last = db.session.scalars(sa.select(Beat).order_by(Beat.seen_at.desc()).limit(1)).first()
        seen = f" The last one was seen {formats.ago(last.seen_at, now)}, on {last.host}." if last else ""
        return Link(name, False, f"No beat is running.{seen}", "Start one: celery -A wsgi:celery beat")
    if not beats[0].leading:
        return Link(name, False, "Beats are there, but none leads.", "Wait five seconds; then look at their logs.")
    standing = in_force.judge(schedule, beats, now)
    if standing.host is None:
        return Link(name, False, f"The beat on {beats[0].host} does not know the last edit yet.", "Look at its log.")
    return Link(name, True, f"The beat on {beats[0].host} leads and has the last edit in force.")


def _occurrence(schedule: Stored, due_at: datetime | None, run: Run | None, now: datetime) -> Link:
    name = "Occurrence"
    if due_at is None:
        return Link(name, None, "It has not come due since beat knows it.")
    local = f"{due_at.astimezone(zone(schedule.timezone)):%Y-%m-%d %H:%M:%S} {schedule.timezone}"
    if run is None:
        return _without_run(schedule, due_at, local, now)
    if run.state in (RunState.MISSED, RunState.SKIPPED):
        return Link(name, False, f"{local} was {run.state}: {run.reason or 'no reason was noted'}.", _POLICIES)
    return Link(name, True, f"The run of {local} was created {formats.ago(run.created_at, now)}.")


def _without_run(schedule: Stored, due_at: datetime, local: str, now: datetime) -> Link:
    name, changed = "Occurrence", schedule.row.changed_at
    if due_at > now:
        return Link(name, None, f"{local} has not come yet.")
    if changed is not None and due_at < changed:
        return Link(name, False, f"{local} was before the last edit, and nothing ran then.", "See its versions.")
    expected = [due.utc for due in schedule.due_times(due_at - timedelta(microseconds=1), 1)]
    if due_at not in expected:
        return Link(name, False, f"It does not come due at {local}.", "The preview shows when it does.")
    return Link(name, False, f"Nobody has accounted for {local} yet.", "See whether a beat leads.")


_POLICIES = "The policies for missed and overlapping runs decide that; edit them if it should be otherwise."


def _broker() -> Link:
    try:
        broker.check()
    except broker.BrokerAway as error:
        return Link("Broker", False, f"The broker does not answer: {error}", "Start it; beat sends what waits.")
    return Link("Broker", True, "The broker answers.")


def _queue(queue: str, workers: Sequence[Worker]) -> Link:
    if not workers:
        return Link(
            "Queue", False, f"No worker that is alive consumes the queue “{queue}”.",
            f"Start one: celery -A wsgi:celery worker -Q {queue}",
        )  # fmt: skip
    return Link("Queue", True, f"“{queue}” is consumed by {', '.join(worker.name for worker in workers[:3])}.")


def _task(schedule: Stored, workers: Sequence[Worker]) -> Link:
    task = schedule.row.task
    if find_task(task) is None:
        return Link("Task", False, f"{task} is not registered here.", "Add its module to TASK_MODULES.")
    if workers and not any(task in json.loads(worker.tasks) for worker in workers):
        return Link("Task", False, f"No worker of that queue knows {task}.", "Restart them with the code that has it.")
    return Link("Task", True if workers else None, f"{task} is registered.")


def _result(run: Run | None) -> Link:
    name = "Result"
    if run is None:
        return Link(name, None, "There is no run to look at.")
    if run.state == RunState.SUCCEEDED:
        return Link(name, True, "It succeeded.")
    if run.state in (RunState.FAILED, RunState.EXPIRED, RunState.REVOKED):
        return Link(
            name,
            False,
            f"It {_ENDS[RunState(run.state)]}: {run.error or run.reason or 'no reason was noted'}",
            "See the run.",
        )
    return Link(name, None, f"It is {run.state}.")


_ENDS = {RunState.FAILED: "failed", RunState.EXPIRED: "expired before it began", RunState.REVOKED: "was revoked"}


def _run_of(schedule: Stored, due_at: datetime | None) -> Run | None:
    if due_at is None:
        return None
    return db.session.scalars(sa.select(Run).where(Run.schedule_id == schedule.id, Run.due_at == due_at)).first()


def _alive(now: datetime) -> Sequence[Worker]:
    query = sa.select(Worker).where(Worker.seen_at > now - WORKER_SILENCE, Worker.stopped_at.is_(None))
    return db.session.scalars(query.order_by(Worker.name)).all()


def _consumers(schedule: Stored, now: datetime) -> tuple[str, list[Worker]]:
    queue, _exchange, _key = broker.destination(schedule.row.task, [], {}, schedule.row.queue)
    return queue, [worker for worker in _alive(now) if queue in json.loads(worker.queues)]


def asked_due(text: str, schedule: Stored) -> datetime | None:
    """The due time that somebody asks about; None for none, or for what is no moment."""
    if fields.empty(text):
        return None
    try:
        return fields.moment(text.replace(" ", "+"), zone(schedule.timezone))
    except fields.FieldError:
        return None
