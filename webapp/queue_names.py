"""Valid names of queues: the one home of this rule. Imports nothing of ours.

On Redis a queue is a key of that name, and a message to a queue with the name of one of the broker's own keys would end
every worker. On RabbitMQ some names belong to the broker or to Celery's control and events.
"""

from __future__ import annotations

import re

MAX_QUEUE_NAME_LENGTH = 128
_NAME = re.compile(rf"[A-Za-z0-9._-]{{1,{MAX_QUEUE_NAME_LENGTH}}}")
_RESERVED = re.compile(
    r"""
    .*unacked(_index|_mutex)?       # kombu on Redis: delivered messages, perhaps after a `global_keyprefix`
    | .*_kombu\..*                  # kombu on Redis: bindings
    | celeryev(\..*)?               # Celery's events
    | (.*\.)?pidbox                 # Celery's control: celery.pidbox, reply.celery.pidbox, and a queue for each node
    | celery-task(set)?-meta-.*     # results and groups, if they share the broker's database
    | chord-unlock-.*
    | celery_delayed(_.*)?          # Celery's delayed delivery by RabbitMQ
    | amq\..*                       # RabbitMQ's own
    """,
    re.VERBOSE | re.DOTALL,
)
# The predefined exchanges of RabbitMQ, which can be used.
_STANDARD_EXCHANGE = re.compile(r"amq\.(direct|fanout|headers|match|topic)")


class BadQueueName(ValueError):
    """An invalid name of a queue. The text is the reason."""


def refusal(name: str) -> str | None:
    """Why a name is not valid for a queue, as a sentence; None if it is valid."""
    if not _NAME.fullmatch(name):
        return (
            f"The name of a queue has 1 to {MAX_QUEUE_NAME_LENGTH} characters, each a letter from A to Z, a digit, "
            "“.”, “_” or “-”, such as reports.daily."
        )
    return _reserved("a queue", name)


def target_refusal(queue: str | None, exchange: str | None, routing_key: str | None) -> str | None:
    """Why a message cannot be sent to this target, as a sentence, or None. Empty names count as not given."""
    if queue and (reason := refusal(queue)):
        return reason
    if exchange and not _STANDARD_EXCHANGE.fullmatch(exchange) and (reason := _reserved("an exchange", exchange)):
        return reason
    return _reserved("a routing key", routing_key) if routing_key else None


def require_valid(name: str) -> None:
    """Raise BadQueueName for a name that is not valid for a queue."""
    if reason := refusal(name):
        raise BadQueueName(reason)


def _reserved(what: str, name: str) -> str | None:
    if not _RESERVED.fullmatch(name):
        return None
    shown = name[:MAX_QUEUE_NAME_LENGTH]
    return f"“{shown}” cannot be used as {what}: Celery or the message broker uses this name itself."
