"""The task of `/add-numbers/`, a small example of a run from launch to result."""

from __future__ import annotations

from celery import shared_task


@shared_task(name="add")  # type: ignore[untyped-decorator,unused-ignore]  # Celery publishes no types
def add(num1: float, num2: float) -> float:
    """Add two numbers.

    Args:
        num1: The first number.
        num2: The second number.
    """
    return num1 + num2
