"""The task of the measured schedules. Nothing executes it: what is measured ends in the queue."""

from __future__ import annotations

from celery import shared_task


@shared_task(name="bench.noop")
def noop(name: str) -> str:
    """Give its argument back."""
    return name
