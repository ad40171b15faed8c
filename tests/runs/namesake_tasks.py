"""A task of a project whose name begins like those of Beatdesk's own."""

from __future__ import annotations

from celery import shared_task


@shared_task(name="mail.count_letters")  # type: ignore[untyped-decorator,unused-ignore]  # Celery publishes no types
def count_letters(text: str) -> int:
    return len(text)
