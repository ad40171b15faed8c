"""`celery -A tests.adoption.projects.canvas.app worker`."""

from __future__ import annotations

import os

from celery import Celery

app = Celery(
    "canvas",
    broker=os.environ["SHOP_BROKER"],
    backend=os.environ["SHOP_BACKEND"],
    include=["tests.adoption.projects.canvas.tasks"],
)
app.conf.update(
    broker_connection_retry_on_startup=True,
    broker_transport_options={"visibility_timeout": 1} if app.conf.broker_url.startswith("redis") else {},
    task_track_started=True,
    task_acks_late=True,
    beat_schedule={"tick": {"task": "canvas.record", "schedule": 1.0, "args": ["own"]}},
)
