"""How this program connects to the broker: soon again when it was away."""

from __future__ import annotations

from typing import Any

import kombu

from webapp.redis_transport import guarded
from webapp.secrecy.celery_parts import MaskingAMQP

# Seconds between attempts: the first, what each adds, the longest. kombu's own grow to 30, so that a worker would idle
# for half a minute after the broker is back.
FIRST, STEP, LONGEST = 0.5, 0.5, 2.0


class Connection(kombu.Connection):
    """A connection that is tried every two seconds while the broker is away."""

    def get_transport_cls(self) -> Any:
        """As kombu's, with its Redis transport replaced by one that no item in a queue ends."""
        return guarded(super().get_transport_cls())

    def ensure_connection(self, *args: Any, **kwargs: Any) -> Any:
        """As kombu's, with our pauses where the caller names none."""
        pauses = {"interval_start": FIRST, "interval_step": STEP, "interval_max": LONGEST}
        return super().ensure_connection(*args, **pauses | kwargs)


class Amqp(MaskingAMQP):
    """What makes Celery's connections, queues and messages."""

    Connection = Connection
