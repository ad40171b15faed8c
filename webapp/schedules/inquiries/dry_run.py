"""What running a schedule's task now would do, found out without sending anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from webapp.messaging import broker
from webapp.messaging.producers import Unsendable
from webapp.queue_names import target_refusal
from webapp.run_store import sending
from webapp.run_store.message import Destination
from webapp.runs.call.arguments import call_faults
from webapp.schedule_store.stored import Stored
from webapp.schedules.actions import message_options
from webapp.secrecy.masking import conceal
from webapp.task_catalogue.registry import find_task, rule_for
from webapp.workers import service as workers


@dataclass(frozen=True, slots=True)
class Taker:
    """A living worker that takes from the queue and knows the task: how many of its slots are busy."""

    name: str
    slots: int
    busy: int


@dataclass(frozen=True, slots=True)
class DryRun:
    """Where the message would go, what it would carry, and who would take it.

    `queue` is None where only the broker knows it; several are separated by commas.
    `body` is the message's body as the serializer makes it, secrets masked, and `bytes` its real length; `waiting` is
    how many messages wait before it, None where the broker does not say; `away` is why the broker does not
    answer; `problem` is why it would not run at all.
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
        """The names of those who would take it."""
        return [taker.name for taker in self.takers]


def dry_run(schedule: Stored, args: list[Any], kwargs: dict[str, Any], now: datetime) -> DryRun:
    """Resolve the route, serialise the arguments, and look who would take it."""
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
    queues, waiting, away = _look(aim)
    if queues == []:
        problem = problem or f"No queue is bound to the {aim.place}."
    alive = [line for line in workers.workers(now) if line.alive and set(line.queues).intersection(queues or ())]
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


def _look(aim: Destination) -> tuple[list[str] | None, int | None, str | None]:
    """To which queues a message goes, how many wait there, and why the broker does not answer."""
    try:
        queues = sending.led_to(aim)
        depths = broker.queue_depths(queues or ()).values()
    except broker.BrokerAway as error:
        return [aim.queue] if aim.queue else None, None, str(error)
    known = [depth for depth in depths if depth is not None]
    return queues, sum(known) if known else None, None
