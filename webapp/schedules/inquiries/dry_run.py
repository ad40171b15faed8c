"""The effect of running a schedule's task now, determined without sending anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from beatdesk.secrecy.masking import conceal
from webapp.messaging import broker
from webapp.messaging.producers import Unsendable
from webapp.queue_names import target_refusal
from webapp.run_store import sending
from webapp.run_store.message import Destination
from webapp.runs.call.arguments import call_faults
from webapp.schedule_store.stored import Stored
from webapp.schedules.actions import message_options
from webapp.task_catalogue.registry import find_task, rule_for
from webapp.workers import service as workers


@dataclass(frozen=True, slots=True)
class Taker:
    """An online worker that consumes the queue and has registered the task."""

    name: str
    slots: int
    busy: int


@dataclass(frozen=True, slots=True)
class DryRun:
    """Where the message would go, what it would contain, and which workers would execute it.

    `queue` is None if only the broker knows it; several queues are separated by commas. `body` is the serialized body
    of the message, secrets masked, and `bytes` its real length. `waiting` is how many messages wait before it, None if
    unknown; `away` is why the broker does not answer; `problem` is why it would not run at all.
    """

    queue: str | None
    exchange: str
    routing_key: str
    content_type: str
    body: str
    bytes: int
    priority: int | None
    expire_seconds: int | None
    takers: Sequence[Taker]
    others: Sequence[str]
    waiting: int | None
    away: str | None
    problem: str | None

    @property
    def workers(self) -> list[str]:
        """The names of the workers that would execute it."""
        return [taker.name for taker in self.takers]


def dry_run(schedule: Stored, args: list[Any], kwargs: dict[str, Any], now: datetime) -> DryRun:
    """Resolve the route, serialize the arguments, and find the workers that would execute it."""
    task = schedule.row.task
    known = find_task(task)
    problem: str | None = f"The task “{task}” is not registered."
    if known:
        problem = " ".join(call_faults(known, args, kwargs).values())
    problem = problem or target_refusal(schedule.row.queue, schedule.row.exchange, schedule.row.routing_key)
    call = conceal(rule_for(task), args, kwargs)
    aim = sending.destination_of(task, schedule.row.queue, schedule.row.exchange, schedule.row.routing_key)
    content_type, real, body = "", "", ""
    try:
        content_type, real = broker.serialize_message(task, args, kwargs)
        _, body = broker.serialize_message(task, call.args, call.kwargs)
        aim = sending.destination(task, args, kwargs, schedule.row.queue, message_options(schedule))
    except Unsendable as error:
        problem = problem or f"The message cannot be created: {error}"
    queues, waiting, away = _queues_of(aim)
    if queues == []:
        problem = problem or f"No queue is bound to the {aim.place}."
    alive = [
        worker for worker in workers.workers(now) if worker.alive and set(worker.queues).intersection(queues or ())
    ]
    return DryRun(
        queue=", ".join(queues or ()) or None,
        exchange=aim.exchange,
        routing_key=aim.routing_key,
        content_type=content_type,
        body=body,
        bytes=len(real.encode()),
        priority=schedule.row.priority,
        expire_seconds=schedule.row.expire_seconds,
        takers=[Taker(line.worker.name, line.worker.concurrency, line.busy) for line in alive if line.knows(task)],
        others=[line.worker.name for line in alive if not line.knows(task)],
        waiting=waiting,
        away=away,
        problem=problem,
    )


def _queues_of(aim: Destination) -> tuple[list[str] | None, int | None, str | None]:
    """The queues of a destination, how many messages wait there, and why the broker does not answer."""
    try:
        queues = sending.led_to(aim)
        depths = broker.queue_depths(queues or ()).values()
    except broker.BrokerAway as error:
        return [aim.queue] if aim.queue else None, None, str(error)
    known = [depth for depth in depths if depth is not None]
    return queues, sum(known) if known else None, None
