"""A project with sqlalchemy-celery-beat's own beat: `celery -A tests.leaving.stock beat`."""

from __future__ import annotations

import os

from celery import Celery

app = Celery("stock", broker=os.environ["STOCK_BROKER"])
app.conf.beat_scheduler = "sqlalchemy_celery_beat.schedulers:DatabaseScheduler"
app.conf.beat_dburi = os.environ["STOCK_DATABASE"]
app.conf.beat_schema = os.environ.get("STOCK_SCHEMA")
app.conf.beat_max_loop_interval = 1
