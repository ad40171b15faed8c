"""Tasks with time limits of their own and without, by TASK_MODULES."""

from __future__ import annotations

import time

from celery import Task, current_app, shared_task
from celery.exceptions import SoftTimeLimitExceeded

current_app.conf.task_annotations = {"limited.annotated": {"time_limit": 1}}


class Patient(Task):
    """A base of its own, with a limit far away."""

    time_limit = 3600


@shared_task(name="limited.default")
def default(seconds: float) -> None:
    """Sleep."""
    time.sleep(seconds)


@shared_task(name="limited.hard", time_limit=1)
def hard(seconds: float) -> None:
    """Sleep, whatever the soft limit says."""
    wake_at = time.monotonic() + seconds
    while time.monotonic() < wake_at:
        try:
            time.sleep(seconds)
        except SoftTimeLimitExceeded:
            continue


@shared_task(name="limited.annotated")
def annotated(seconds: float) -> None:
    """Sleep."""
    time.sleep(seconds)


@shared_task(name="limited.soft", soft_time_limit=1)
def soft(seconds: float) -> str:
    """Sleep; go on after the soft limit."""
    try:
        time.sleep(seconds)
    except SoftTimeLimitExceeded:
        time.sleep(seconds)
        return "went on"
    return "slept"


@shared_task(name="limited.patient", base=Patient)
def patient(seconds: float) -> None:
    """Sleep."""
    time.sleep(seconds)
