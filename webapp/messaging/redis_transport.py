"""kombu's Redis transport, whose consumers an item in a queue cannot end that is no message.

Whatever lies in the list of a queue is taken out of it before it is looked at; kombu raises what it finds wrong with it
through the worker's loop, which takes that for a fault of the worker.
"""

from __future__ import annotations

from typing import Any

from kombu.transport.redis import Channel, Transport


class GuardedChannel(Channel):
    """A channel that passes over what is no message."""

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            # Not before: whoever only sends needs nothing of a worker.
            from webapp.execution.worker.consumer import discard_item

            discard_item(error)
            return True


class GuardedTransport(Transport):
    """The transport of such channels."""

    Channel = GuardedChannel


def guarded(transport: Any) -> Any:
    """The transport class to use instead of one of kombu's."""
    return GuardedTransport if transport is Transport else transport
