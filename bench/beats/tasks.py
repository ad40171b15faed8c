"""The task of the measured schedules. It is never executed: measurements end at the queue."""

from __future__ import annotations

from celery import shared_task


@shared_task(name="bench.noop")
def noop(name: str) -> str:
    """Give its argument back."""
    return name
