"""The worker's consumer, in which runs that wait for their task's rate limit do not keep other runs from this worker.

Celery keeps what exceeds a rate limit in memory, within the number of messages that a worker may hold. That is one for
each process here, so two such runs would keep a worker of two processes from everything else. So:

1. Each run that waits for a rate limit allows one more message, up to `MAX_WAITING`.
2. A message that is delivered again while it waits, as Redis does after the visibility time-out, takes the place of the
   earlier one.
3. The worker's heartbeat names the waiting runs, so that they are not taken for lost and sent again.
"""

from __future__ import annotations

from typing import Any

from webapp.worker_process.consumer import Consumer as GuardedConsumer

# They lie in this worker's memory, and other workers do not get them.
MAX_WAITING = 1_000


class Consumer(GuardedConsumer):
    """What `worker_consumer` names."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._waiting: dict[str, Any] = {}
        super().__init__(*args, **kwargs)

    @property
    def waiting(self) -> list[str]:
        """The task ids of the runs that wait for a rate limit. May be asked for by any thread."""
        return list(self._waiting)

    def _limit_task(self, request: Any, bucket: Any, tokens: int) -> None:
        earlier = self._waiting.get(request.id)
        self._waiting[request.id] = request
        if earlier is None:
            if len(self._waiting) <= MAX_WAITING:
                self.qos.increment_eventually()
            super()._limit_task(request, bucket, tokens)
        elif earlier.message.delivery_tag != request.message.delivery_tag:
            # Redis delivers again under the same tag; to acknowledge one would be to acknowledge both.
            earlier.acknowledge()

    def _limit_post_eta(self, request: Any, bucket: Any, tokens: int) -> None:
        # Celery allowed one more for the time that it waited for.
        self.qos.decrement_eventually()
        self._limit_task(request, bucket, tokens)

    def _limit_move_to_pool(self, request: Any) -> None:
        newest = self._waiting.pop(request.id, None)
        if newest is not None and len(self._waiting) < MAX_WAITING:
            self.qos.decrement_eventually()
        super()._limit_move_to_pool(newest or request)

    def on_close(self) -> None:
        """Forget what waits, with the connection that brought it."""
        super().on_close()
        self._waiting.clear()
