"""Another project's Celery app, with Celery's defaults: `celery -A tests.adoption.shop worker`."""

from __future__ import annotations

import json
import os

from celery import Celery

from tests.adoption import shop_tasks

app = Celery("shop", broker=os.environ["SHOP_BROKER"], include=[shop_tasks.__name__])
app.conf.broker_connection_retry_on_startup = True
app.conf.update(json.loads(os.environ.get("SHOP_CONF", "{}")))
if "SHOP_BACKEND" in os.environ:
    app.conf.result_backend = os.environ["SHOP_BACKEND"]


@app.task(name="shop.private")
def private(what: str) -> None:
    """A task that no other project knows: a worker that takes its message by mistake discards it."""
    shop_tasks.note(what)
