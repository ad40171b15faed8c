"""Imported by a beat: ends it with SIGKILL in the moment before it publishes a message of another project's task."""

from __future__ import annotations

import os
import signal
from typing import Any

from celery import signals


@signals.before_task_publish.connect(weak=False)
def _end(sender: str | None = None, **_: Any) -> None:
    if str(sender).startswith("shop."):
        os.kill(os.getpid(), signal.SIGKILL)
