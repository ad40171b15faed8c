"""kombu's Redis transport, whose consumers an item in a queue cannot end that is no message.

Whatever lies in the list of a queue is taken out of it before it is looked at; kombu raises what it finds wrong with it
through the worker's loop, which takes that for a fault of the worker.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from kombu.transport.redis import Channel, Transport

logger = logging.getLogger(__name__)


def _log(error: Exception) -> None:
    logger.error("discarded an entry of a queue that is not a message: %s: %s", type(error).__name__, error)


class GuardedChannel(Channel):
    """A channel that passes over what is no message."""

    # A worker counts it too, by a function of its own; a program that only sends needs nothing of a worker.
    discard: Callable[[Exception], None] = staticmethod(_log)

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self.discard(error)
            return True


class GuardedTransport(Transport):
    """The transport of such channels."""

    Channel = GuardedChannel


def guarded(transport: Any) -> Any:
    """The transport class to use instead of one of kombu's."""
    return GuardedTransport if transport is Transport else transport
