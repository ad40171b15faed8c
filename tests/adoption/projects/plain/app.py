"""`celery -A tests.adoption.projects.plain.app worker`."""

from __future__ import annotations

import os

from celery import Celery

app = Celery("plain", broker=os.environ["SHOP_BROKER"], include=["tests.adoption.projects.plain.tasks"])
app.conf.update(
    timezone="Europe/Berlin",
    broker_connection_retry_on_startup=True,
    broker_transport_options={"visibility_timeout": 1, "priority_steps": [0, 3, 6, 9]}
    if app.conf.broker_url.startswith("redis")
    else {},
    task_queue_max_priority=9,
    task_default_priority=3,
    task_routes={
        "plain.place": {"queue": "orders", "priority": 6},
        "plain.mail.*": {"queue": "mail"},
    },
    beat_schedule={"tick": {"task": "plain.record", "schedule": 1.0, "args": ["own"]}},
)
