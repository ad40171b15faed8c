"""Sends runs: publishes the messages of their rows, says where those go, and announces changed rows to open pages."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from flask import current_app

from webapp.extensions import celery
from webapp.messaging import broker
from webapp.messaging.broker import BrokerAway, breaker
from webapp.messaging.producers import BROKER_ERRORS, NotNow, Producers, Unsendable, describe_error, is_refused, probe
from webapp.run_store import changes, message
from webapp.run_store.models import Run
from webapp.run_store.statements import Sendable

logger = logging.getLogger(__name__)


class Sent(list[str]):
    """The ids of the runs whose messages the broker took, in order; in `unsendable` by id why others cannot be sent."""

    def __init__(self) -> None:
        super().__init__()
        self.unsendable: dict[str, str] = {}


def publish(runs: Iterable[Run]) -> Sent:
    """Publish the messages of queued runs.

    Stops where the broker turns out to be away. Never raises: what was not sent keeps `sent_at` empty.
    """
    waiting = list(runs)
    sent = Sent()

    def send_rest(producer: Any) -> None:
        while waiting:
            run = waiting[0]
            try:
                message.send(celery, producer, run)
            except Unsendable as error:
                logger.warning("run %s cannot be sent: %s", run.id, error)
                sent.unsendable[run.id] = str(error)
            except NotNow as error:
                logger.info("run %s is sent later: %s", run.id, error)
            else:
                sent.append(run.id)
            del waiting[0]

        breaker.reset()

    _use_producer(send_rest)
    return sent


def publish_once(runs: Sequence[Sendable], note: Callable[[], Collection[str]]) -> tuple[list[str], dict[str, str]]:
    """Publish messages of runs that are only observed: each at most once, whatever fails meanwhile.

    `note` is called once the broker has answered, right before the first message: it notes that they are sent, commits,
    and gives the ids of those that may be. What is in doubt counts as sent. Gives the ids of those that were noted and
    surely not published, and why others cannot be sent. Never raises what a broker does.
    """
    untouched: list[str] = []
    unsendable: dict[str, str] = {}

    def send_noted(producer: Any) -> None:
        probe(producer)
        noted = note()
        untouched.extend(run.id for run in runs if run.id in noted)
        for run in [run for run in runs if run.id in noted]:
            try:
                message.send(celery, producer, run)
            except Unsendable as error:
                logger.warning("run %s cannot be sent: %s", run.id, error)
                unsendable[run.id] = str(error)
            except NotNow as error:
                logger.info("run %s is sent later: %s", run.id, error)
                continue
            except BROKER_ERRORS as error:
                # Not raised: nothing may be tried again on another connection.
                if not is_refused(error):
                    untouched.remove(run.id)
                _trip(error)
                return
            untouched.remove(run.id)

    _use_producer(send_noted)
    return untouched, unsendable


def _use_producer(work: Callable[[Any], None]) -> None:
    """Call with a producer, unless the broker is away."""
    try:
        breaker.require_closed()
        _producers().use(work)
    except BrokerAway as error:
        logger.info("not sent now: %s", error)
    except BROKER_ERRORS as error:
        _trip(error)


def _trip(error: Exception) -> None:
    breaker.trip()
    logger.warning("the broker does not answer: %s", error)


def queue_of_run(run: message.Addressed) -> str | None:
    """The queue that a run's message goes to, None where that is not known. Asks no server."""
    try:
        return message.destination_of(celery, run).queue
    except Exception:  # noqa: BLE001  # a router of a project's own; sending says what is wrong with it
        return None


def destination(
    task: str, args: list[Any], kwargs: dict[str, Any], queue: str | None, options: Mapping[str, Any] | None = None
) -> message.Destination:
    """Where a message of a task would go; `options` may name an exchange and a routing key.

    Sends nothing and asks no server. Raises Unsendable when a router raises.
    """
    try:
        return message.destination(celery, task, {**(options or {}), "queue": queue}, args, kwargs)
    except Exception as error:
        raise Unsendable(describe_error(error)) from error


def destination_of(
    task: str, queue: str | None, exchange: str | None = None, routing_key: str | None = None
) -> message.Destination:
    """Where the messages of a task go, as far as it can be said without their arguments: a router may need them."""
    try:
        return destination(task, [], {}, queue, {"exchange": exchange, "routing_key": routing_key})
    except Unsendable:
        if exchange and routing_key:
            return message.Destination(None, exchange, routing_key)
        name = queue or str(celery.conf.task_default_queue)
        return message.Destination(name, "", name)


def destination_of_run(run: Run) -> message.Destination:
    """Where the message of a run goes, as far as it can be said without its arguments."""
    try:
        return message.destination_of(celery, run)
    except Exception:  # noqa: BLE001  # a router of a project's own; sending says what is wrong with it
        return destination_of(run.task, run.queue)


def led_to(aim: message.Destination) -> list[str] | None:
    """The queues that a message goes to; None where the broker does not say. Raises BrokerAway."""
    if aim.queue is not None:
        return [aim.queue]
    return broker.bound_to(aim.exchange, aim.routing_key)


def tell_pages(run_ids: Collection[str]) -> None:
    """Notify live pages of changed runs, after the commit; without Redis they find out by polling."""
    broker.try_redis(lambda client: changes.append(client, run_ids))


def _producers() -> Producers:
    made = current_app.extensions.get("producers")
    if made is None:
        made = Producers(celery)
        current_app.extensions["producers"] = made
    return made
