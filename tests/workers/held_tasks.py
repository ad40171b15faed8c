"""A task whose runs wait for its rate limit."""

from __future__ import annotations

from celery import shared_task

from tests.runs import sample_tasks


@shared_task(name="held.limited", rate_limit="1/h")
def limited(path: str) -> None:
    """Add a line to the file."""
    sample_tasks.note(path)
