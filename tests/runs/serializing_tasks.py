"""A project's module that sends and accepts YAML only, like its own workers."""

from __future__ import annotations

from celery import current_app, shared_task

current_app.conf.update(accept_content=["yaml"], task_serializer="yaml")


@shared_task(name="serializing.yaml")
def yamled(x: int = 1) -> int:
    """Bound to the serializer of the settings."""
    return x


@shared_task(name="serializing.sends", serializer="nosuch")
def sends(x: int = 1) -> str:
    """Send the other task, asking for pickle."""
    return str(yamled.apply_async((x,), serializer="pickle").id)
