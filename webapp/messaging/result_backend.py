"""The result backend: it serves callers that wait for a result. How a run ended is in `runs`."""

from __future__ import annotations

import logging
from typing import Any

from celery.exceptions import BackendStoreError
from redis.exceptions import RedisError

from beatdesk.execution.current import current_of
from beatdesk.execution.exceptions import original
from webapp.secrecy.celery_parts import MaskingBackend

logger = logging.getLogger(__name__)


class Results(MaskingBackend):
    """Results in Redis; one that cannot be stored fails its caller, and not the run.

    Celery takes a task for failed when its state cannot be stored: one that was not begun yet, because it cannot say
    that it begins, and one that has finished. A Redis that is away for a second, or loads its data after a
    restart, or has no memory left, would fail every run that begins or ends meanwhile.
    """

    def mark_as_failure(self, task_id: str, exc: Any, *rest: Any, **more: Any) -> Any:
        """As Celery's. A hook that it calls next may raise another error, which is not why the run failed."""
        execution = current_of(task_id)
        if execution is not None and execution.failure is None:
            execution.failure = original(exc)
        return super().mark_as_failure(task_id, exc, *rest, **more)

    def store_result(self, task_id: str, result: Any, state: str, *rest: Any, **more: Any) -> Any:
        """As Celery's, which tries several times within a second. Raises EncodeError for values that are not JSON."""
        execution = current_of(task_id)
        if execution is not None:
            execution.state_set = (state, result)
        try:
            return super().store_result(task_id, result, state, *rest, **more)
        except (BackendStoreError, RedisError, OSError) as error:
            logger.warning(
                "run %s: callers that wait for its result do not get the state %s: %s", task_id, state, error
            )
            return result
