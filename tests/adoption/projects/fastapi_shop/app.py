"""`celery -A tests.adoption.projects.fastapi_shop.app worker`."""

from __future__ import annotations

import os
from pathlib import Path

from celery import Celery

DATABASE = f"sqlite:///{Path(os.environ['SHOP_FOLDER']).absolute() / 'shop.db'}"
BROKER = os.environ["SHOP_BROKER"]

app = Celery("fastapi_shop", broker=BROKER, include=["tests.adoption.projects.fastapi_shop.tasks"])
app.conf.update(
    timezone="UTC",
    broker_connection_retry_on_startup=True,
    broker_transport_options={"visibility_timeout": 1} if BROKER.startswith("redis") else {},
    worker_prefetch_multiplier=1,
    beat_dburi=DATABASE,
    beat_scheduler="sqlalchemy_celery_beat.schedulers:DatabaseScheduler",
    beat_max_loop_interval=1,
)
