"""Another project's Celery app, with Celery's defaults: `celery -A tests.adoption.shop worker`."""

from __future__ import annotations

import os

from celery import Celery

app = Celery("shop", broker=os.environ["SHOP_BROKER"], include=["tests.adoption.shop_tasks"])
app.conf.broker_connection_retry_on_startup = True
if "SHOP_BACKEND" in os.environ:
    app.conf.result_backend = os.environ["SHOP_BACKEND"]
